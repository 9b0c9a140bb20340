"""One voice note of an answer, made of pieces that are spoken while the agent still writes."""

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
from text.language_detection import detect_language
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

# How probable the language of a piece has to be, so that it is not spoken in that of the answer;
# and that of an answer's beginning, so that its first piece need not wait for more of it.
CERTAIN = 0.9

# Matches up to the first letter of the next sentence: a full stop or the like, and a blank.
_BEGINNING = regex.compile(r"(?:\G|(?<!\W))[^\w.!?…؟。！？\n]*+[.!?…؟。！？\n][^\w\s]*+\s\W*+\w")


@dataclass(frozen=True)
class _Piece:
    """Sentences, and the audio that is being made of them (Ogg/Opus)."""

    sentences: list[str]
    audio: Future[bytes]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


class StreamingSynthesis:
    """The voice note of one answer.

    It is spoken in the language it is written in. ``language`` (ISO 639-1) is the sender's, for an
    answer that does not tell its own.
    ``write`` and ``discard`` follow the agent's stream, ``finish`` takes the whole answer, and
    ``voice_note`` waits for the audio. For one thread at a time. Only ``voice_note`` raises: an
    answer that cannot be spoken can still be read. Each piece may take ``piece_seconds``, whatever
    is left of the turn.
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
        self._senders_language = language
        self._speech = speech
        self._ffmpeg = ffmpeg
        self._phrases = phrases
        self._metrics = metrics
        self._pool = pool
        self._longest = longest
        self._piece_seconds = piece_seconds
        self._written = ""
        # Up to where the written text was searched for the beginning of a sentence.
        self._examined = 0
        self._pieces: list[_Piece] = []
        self._note: bytes | None = None
        self._failure: Exception | None = None
        # When the answer was whole (monotonic seconds).
        self.finished_at = 0.0

    def write(self, chunk: str) -> None:
        """Start to speak the sentences that are complete now that the agent wrote ``chunk``."""
        if len(self._written) >= self._longest:
            return
        self._written += chunk
        next_sentence = self._find_next_sentence()
        if next_sentence:
            self._examined = next_sentence
            with self._keep_failure():
                # The full stop that ``to_speech`` adds where the text ends for now is none.
                self._speak_beginning(to_speech(self._written).removesuffix("."))

    def discard(self) -> None:
        """Forget what was written so far: the agent took it back."""
        self._written = ""
        self._examined = 0
        self._drop_pieces(0)

    def finish(self, markdown: str) -> None:
        """Start to speak the rest of ``markdown``, which is the whole answer.

        Sentences beyond ``longest`` characters are left to be read.
        """
        self.finished_at = time.monotonic()
        with self._keep_failure():
            words = to_speech(markdown)
            language = detect_language(words, self._senders_language)
            self._speak(self._shorten(words, language), language, whole=True)

    def voice_note(self) -> bytes:
        """The note, at most 512 KB of Ogg/Opus. Raises ``SpeechError`` or ``AudioError``."""
        if self._failure:
            raise self._failure
        if self._note is None:
            if not self._pieces:
                raise NothingHeard("the answer has no words to speak")
            joined = self._ffmpeg.join([_await_audio(piece) for piece in self._pieces])
            self._note = self._ffmpeg.fit_note(joined)
            self._pieces = []
        return self._note

    def _find_next_sentence(self) -> int:
        """Where a sentence begins, a piece behind what was examined; 0 if none does."""
        beginning = _BEGINNING.search(self._written, self._examined + PIECE)
        return beginning.end() if beginning else 0

    @contextmanager
    def _keep_failure(self) -> Iterator[None]:
        """Keep whatever is raised until the voice note is asked for."""
        try:
            yield
        except Exception as error:
            self._failure = error

    def _shorten(self, words: str, language: str | None) -> str:
        kept = first_sentences(words, self._longest)
        if kept == words:
            return words
        return f"{kept}\n{self._phrases.translate('rest_in_text', language)}"

    def _speak_beginning(self, words: str) -> None:
        """Speak the beginning of an answer once its language is certain.

        Waiting for another sentence costs less than to speak and pay twice.
        """
        language = detect_language(words, least_probability=CERTAIN)
        if language:
            self._speak(words, language, whole=False)

    def _speak(self, words: str, language: str | None, *, whole: bool) -> None:
        sentences = split_sentences(words, LONGEST_SENTENCE)
        rest = sentences[self._drop_changed(sentences) :]
        groups = self._group(rest, LAST_PIECE if whole else PIECE)
        # The last sentence may go on, and with it the last group.
        last = len(groups) if whole else len(groups) - 1
        for index, group in enumerate(groups[:last]):
            previous = self._pieces[-1].text if self._pieces else ""
            following = " ".join(groups[index + 1]) if index + 1 < len(groups) else ""
            self._pieces.append(self._start_piece(group, language, previous, following))

    def _drop_changed(self, sentences: list[str]) -> int:
        """Drop pieces that are no longer in the answer; returns how many sentences are left."""
        unchanged = 0
        for number, piece in enumerate(self._pieces):
            end = unchanged + len(piece.sentences)
            if sentences[unchanged:end] != piece.sentences:
                self._drop_pieces(number)
                break
            unchanged = end
        return unchanged

    def _group(self, sentences: list[str], size: int) -> list[list[str]]:
        groups = group_sentences(sentences, size)
        if len(groups) <= self._speech.available_slots:
            return groups
        return group_sentences(sentences, PIECE_IN_LINE)

    def _start_piece(
        self, sentences: list[str], language: str | None, previous: str, following: str
    ) -> _Piece:
        words = " ".join(sentences)
        # An answer may change its language, as from English to Arabic.
        own_language = detect_language(words, language, least_probability=CERTAIN)
        synthesize = partial(self._speech.synthesize, previous=previous, following=following)
        # The pool takes over the current deadline, which is that of the question.
        with Deadline(self._piece_seconds).applied():
            audio = self._pool.submit(synthesize, words, own_language)
        return _Piece(sentences, audio)

    def _drop_pieces(self, first: int) -> None:
        """Drop the pieces from number ``first`` on."""
        for piece in self._pieces[first:]:
            if not piece.audio.cancel():
                self._metrics.count("speech_characters_discarded", len(piece.text))
        del self._pieces[first:]


@dataclass(frozen=True)
class Reply:
    """An answer, and its voice note if that is being made already."""

    answer: Answer
    synthesis: StreamingSynthesis | None = None


# Begins the voice note of an answer; the argument is the sender's language (ISO 639-1).
StartSynthesis = Callable[[str | None], StreamingSynthesis]


def _await_audio(piece: _Piece) -> bytes:
    try:
        return piece.audio.result(remaining_time())
    except TimeoutError:
        raise SpeechUnavailable("no voice note in time") from None
