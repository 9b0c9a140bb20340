"""An answer read aloud: one voice note of pieces that are spoken while the agent still writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import regex

from audio.ffmpeg import Ffmpeg
from core.deadline import Deadline, remaining_time
from core.errors import NothingHeard, SpeechUnavailable
from core.models import Answer
from metrics import Metrics
from speech.elevenlabs import Synthesizer
from text.markdown import to_speech
from text.phrases import Phrases
from text.splitting import first_sentences, group_sentences, split_sentences

# Characters. Speaking takes 0.25 s and 4 ms a character (docs/performance.md), and a note is as
# late as its last piece: what is left at the end of an answer is cut finer. Each piece costs a
# request, and longer ones sound better. Where pieces wait in line for the plan, fewer take less of
# it.
PIECE = 160
LAST_PIECE = 100
PIECE_IN_LINE = 200
LONGEST_SENTENCE = 80

# Where the next sentence begins: behind signs of which one ends a sentence, with a blank behind it.
_BEGINNING = regex.compile(r"(?:\G|(?<!\W))[^\w.!?…؟。！？\n]*+[.!?…؟。！？\n][^\w\s]*+\s\W*+\w")


@dataclass(frozen=True)
class _Piece:
    """Sentences, and their sound to come (Ogg/Opus)."""

    sentences: list[str]
    audio: Future[bytes]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


class StreamingSynthesis:
    """The voice note of one answer in ``language`` (ISO 639-1).

    ``write`` and ``discard`` follow the agent's stream, ``finish`` says what is really to be said,
    ``note`` waits for it. For one thread at a time. Only ``note`` raises: an answer that cannot be
    spoken can still be read. Each piece may take ``piece_seconds``, whatever is left of the turn.
    """

    def __init__(
        self,
        language: str | None,
        *,
        speech: Synthesizer,
        ffmpeg: Ffmpeg,
        phrases: Phrases,
        metrics: Metrics,
        pool: Executor,
        longest: int,
        piece_seconds: float,
    ) -> None:
        self._language = language
        self._speech = speech
        self._ffmpeg = ffmpeg
        self._phrases = phrases
        self._metrics = metrics
        self._pool = pool
        self._longest = longest
        self._piece_seconds = piece_seconds
        self._written = ""
        self._looked_at = 0
        self._pieces: list[_Piece] = []
        self._note: bytes | None = None
        self._failure: Exception | None = None
        # When the answer was whole (monotonic seconds).
        self.finished_at = 0.0

    def write(self, chunk: str) -> None:
        """Have spoken what is complete now that the agent wrote ``chunk``."""
        if len(self._written) >= self._longest:
            return
        self._written += chunk
        begun = self._begun()
        if begun:
            self._looked_at = begun
            with self._readable():
                # Where the text ends for now is no full stop.
                words = to_speech(self._written).removesuffix(".")
                self._speak(_sentences(words), whole=False)

    def discard(self) -> None:
        """What was written so far is not to be said."""
        self._written = ""
        self._looked_at = 0
        self._keep(0)

    def finish(self, markdown: str) -> None:
        """Have the rest of ``markdown`` spoken, which is the whole answer.

        What goes beyond ``longest`` characters is left to be read.
        """
        self.finished_at = time.monotonic()
        with self._readable():
            self._speak(_sentences(self._shortened(to_speech(markdown))), whole=True)

    def voice_note(self) -> bytes:
        """The note, at most 512 KB of Ogg/Opus. Raises ``SpeechError`` or ``AudioError``."""
        if self._failure:
            raise self._failure
        if self._note is None:
            if not self._pieces:
                raise NothingHeard("the answer has no words to speak")
            joined = self._ffmpeg.join([_sound(piece) for piece in self._pieces])
            self._note = self._ffmpeg.fit_note(joined)
            self._pieces = []
        return self._note

    def _begun(self) -> int:
        """Where a sentence begins, a piece behind the last that was looked at; 0 if none does."""
        begun = _BEGINNING.search(self._written, self._looked_at + PIECE)
        return begun.end() if begun else 0

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failure = error

    def _shortened(self, words: str) -> str:
        kept = first_sentences(words, self._longest)
        if kept == words:
            return words
        return f"{kept}\n{self._phrases.translate('rest_in_text', self._language)}"

    def _speak(self, sentences: list[str], *, whole: bool) -> None:
        rest = sentences[self._agreed(sentences) :]
        groups = self._grouped(rest, LAST_PIECE if whole else PIECE)
        # The last sentence may go on, and with it the last group.
        last = len(groups) if whole else len(groups) - 1
        for index, group in enumerate(groups[:last]):
            previous = self._pieces[-1].text if self._pieces else ""
            following = " ".join(groups[index + 1]) if index + 1 < len(groups) else ""
            self._pieces.append(self._spoken(group, previous, following))

    def _agreed(self, sentences: list[str]) -> int:
        """How many of the sentences are being spoken already; what is spoken in vain is dropped."""
        agreed = 0
        for number, piece in enumerate(self._pieces):
            end = agreed + len(piece.sentences)
            if sentences[agreed:end] != piece.sentences:
                self._keep(number)
                break
            agreed = end
        return agreed

    def _grouped(self, sentences: list[str], size: int) -> list[list[str]]:
        groups = group_sentences(sentences, size)
        if len(groups) <= self._speech.available_slots:
            return groups
        return group_sentences(sentences, PIECE_IN_LINE)

    def _spoken(self, sentences: list[str], previous: str, following: str) -> _Piece:
        speak = partial(self._speech.synthesize, previous=previous, following=following)
        # The pool takes over the deadline of whoever submits, which here is that of the asking.
        with Deadline(self._piece_seconds).applied():
            audio = self._pool.submit(speak, " ".join(sentences), self._language)
        return _Piece(sentences, audio)

    def _keep(self, number: int) -> None:
        """Drop all pieces but the first ``number``."""
        for piece in self._pieces[number:]:
            if not piece.audio.cancel():
                self._metrics.count("speech_characters_discarded", len(piece.text))
        del self._pieces[number:]


@dataclass(frozen=True)
class Reply:
    """What a sender gets, and the voice note of it if that is being made already."""

    answer: Answer
    synthesis: StreamingSynthesis | None = None


# Begins the voice note of an answer in that language (ISO 639-1).
StartSynthesis = Callable[[str | None], StreamingSynthesis]


def _sound(piece: _Piece) -> bytes:
    try:
        return piece.audio.result(remaining_time())
    except TimeoutError:
        raise SpeechUnavailable("no voice note in time") from None


def _sentences(words: str) -> list[str]:
    return split_sentences(words, LONGEST_SENTENCE)
