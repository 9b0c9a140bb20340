"""The voice note of an answer: segments are synthesised while the agent is still writing."""

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
from text.characters import SENTENCE_STOPS, UNSPACED_SENTENCE_STOPS
from text.language_detection import detect_language
from text.markdown import to_speech
from text.phrases import Phrases
from text.splitting import first_sentences, group_sentences, split_sentences

# The sizes of segments. Synthesis takes 0.25 s and 4 ms a character (docs/performance.md), and a
# note is ready when its last segment is. So the text that remains at the end of an answer is cut
# into smaller segments. Otherwise segments are longer, because each costs a request and long ones
# sound better. They are longest while segments wait for a slot of the ElevenLabs plan.
SEGMENT_CHARACTERS = 160
LAST_SEGMENT_CHARACTERS = 100
QUEUED_SEGMENT_CHARACTERS = 200
MAX_SENTENCE_CHARACTERS = 80

# From this probability on, a segment is spoken in the language of its own text instead of that of
# the answer, and the first segment is spoken without waiting for more of the answer.
CERTAIN_PROBABILITY = 0.9

# Matches from the end of a sentence or line to the first letter of the next one. The time is
# linear, because no match begins within a run of characters that are not letters: each run is read
# once.
_SENTENCE_START = regex.compile(
    rf"(?:\G|(?<!\W))[^\w{SENTENCE_STOPS}{UNSPACED_SENTENCE_STOPS}\n]*+"
    rf"(?:[{SENTENCE_STOPS}][^\w\s]*+\s|[{UNSPACED_SENTENCE_STOPS}\n])\W*+\w"
)


@dataclass(frozen=True)
class _Segment:
    """Sentences, and their audio (Ogg/Opus), which is being synthesised."""

    sentences: list[str]
    audio: Future[bytes]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


class StreamingSynthesis:
    """The voice note of one answer. For one thread at a time.

    The language is that of the answer's text or, if it cannot be detected, ``language`` (ISO
    639-1), which is the sender's. ``write`` and ``discard`` follow the agent's stream, ``finish``
    gets the whole answer, and ``voice_note`` waits for the audio. Only ``voice_note`` raises,
    because an answer that cannot be spoken can still be read. Text beyond ``max_characters`` is not
    spoken. The time for each segment is ``segment_seconds``, also beyond the turn's deadline.
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
        max_characters: int,
        segment_seconds: float,
    ) -> None:
        self._senders_language = language
        self._speech = speech
        self._ffmpeg = ffmpeg
        self._phrases = phrases
        self._metrics = metrics
        self._pool = pool
        self._max_characters = max_characters
        self._segment_seconds = segment_seconds
        self._written = ""
        # Up to where the written text was searched for the beginning of a sentence.
        self._examined = 0
        self._segments: list[_Segment] = []
        self._note: bytes | None = None
        self._failure: Exception | None = None
        # When the answer was complete (monotonic seconds).
        self.finished_at = 0.0

    def write(self, chunk: str) -> None:
        """Add ``chunk``, and start to speak the sentences that are now complete."""
        if len(self._written) >= self._max_characters:
            return
        self._written += chunk
        next_sentence = self._find_next_sentence()
        if next_sentence:
            self._examined = next_sentence
            with self._store_failure():
                # The text ends within a sentence, to which ``to_speech`` adds a full stop.
                self._speak_beginning(to_speech(self._written).removesuffix("."))

    def discard(self) -> None:
        """Drop everything that was written so far, because the agent took it back."""
        self._written = ""
        self._examined = 0
        self._drop_segments(0)

    def finish(self, markdown: str) -> None:
        """Start to speak the rest of ``markdown``, which is the whole answer.

        Sentences beyond ``max_characters`` are not spoken.
        """
        self.finished_at = time.monotonic()
        with self._store_failure():
            words = to_speech(markdown)
            language = detect_language(words, self._senders_language)
            self._speak(self._shorten(words, language), language, whole=True)

    def voice_note(self) -> bytes:
        """The note, at most 512 KB of Ogg/Opus. Raises ``SpeechError`` or ``AudioError``."""
        if self._failure:
            raise self._failure
        if self._note is None:
            if not self._segments:
                raise NothingHeard("the answer has no words to speak")
            joined = self._ffmpeg.join([_await_audio(segment) for segment in self._segments])
            self._note = self._ffmpeg.fit_note(joined)
            self._segments = []
        return self._note

    def _find_next_sentence(self) -> int:
        """The offset of a sentence at least a segment after ``_examined``; 0 if there is none."""
        beginning = _SENTENCE_START.search(self._written, self._examined + SEGMENT_CHARACTERS)
        return beginning.end() if beginning else 0

    @contextmanager
    def _store_failure(self) -> Iterator[None]:
        """Store an error of the block, to be raised by ``voice_note``."""
        try:
            yield
        except Exception as error:
            self._failure = error

    def _shorten(self, words: str, language: str | None) -> str:
        fitting = first_sentences(words, self._max_characters)
        if fitting == words:
            return words
        return f"{fitting}\n{self._phrases.translate('rest_in_text', language)}"

    def _speak_beginning(self, words: str) -> None:
        """Start to speak the beginning of an answer, once its language is certain.

        Waiting for another sentence costs less than paying for the same text in two languages.
        """
        language = detect_language(words, min_probability=CERTAIN_PROBABILITY)
        if language:
            self._speak(words, language, whole=False)

    def _speak(self, words: str, language: str | None, *, whole: bool) -> None:
        sentences = split_sentences(words, MAX_SENTENCE_CHARACTERS)
        rest = sentences[self._drop_changed(sentences) :]
        groups = self._group(rest, LAST_SEGMENT_CHARACTERS if whole else SEGMENT_CHARACTERS)
        # Until the answer is whole, the last sentence is not complete, and so neither is its group.
        last = len(groups) if whole else len(groups) - 1
        for index, group in enumerate(groups[:last]):
            previous = self._segments[-1].text if self._segments else ""
            following = " ".join(groups[index + 1]) if index + 1 < len(groups) else ""
            self._segments.append(self._start_segment(group, language, previous, following))

    def _drop_changed(self, sentences: list[str]) -> int:
        """Drop segments whose text has changed; returns the number of sentences in the others."""
        unchanged = 0
        for number, segment in enumerate(self._segments):
            end = unchanged + len(segment.sentences)
            if sentences[unchanged:end] != segment.sentences:
                self._drop_segments(number)
                break
            unchanged = end
        return unchanged

    def _group(self, sentences: list[str], size: int) -> list[list[str]]:
        groups = group_sentences(sentences, size)
        if len(groups) <= self._speech.available_slots:
            return groups
        return group_sentences(sentences, QUEUED_SEGMENT_CHARACTERS)

    def _start_segment(
        self, sentences: list[str], language: str | None, previous: str, following: str
    ) -> _Segment:
        words = " ".join(sentences)
        # An answer may switch to another language, for example from English to Arabic.
        own_language = detect_language(words, language, min_probability=CERTAIN_PROBABILITY)
        synthesize = partial(self._speech.synthesize, previous=previous, following=following)
        # Otherwise the pool would apply the current deadline, which is that of the question.
        with Deadline(self._segment_seconds).applied():
            audio = self._pool.submit(synthesize, words, own_language)
        return _Segment(sentences, audio)

    def _drop_segments(self, first: int) -> None:
        """Drop the segments from index ``first`` on."""
        for segment in self._segments[first:]:
            if not segment.audio.cancel():
                self._metrics.count("speech_characters_discarded", len(segment.text))
        del self._segments[first:]


@dataclass(frozen=True)
class Reply:
    """An answer, and its voice note if the synthesis has begun."""

    answer: Answer
    synthesis: StreamingSynthesis | None = None


# Begins the voice note of an answer; the argument is the sender's language (ISO 639-1).
StartSynthesis = Callable[[str | None], StreamingSynthesis]


def _await_audio(segment: _Segment) -> bytes:
    try:
        return segment.audio.result(remaining_time())
    except TimeoutError:
        raise SpeechUnavailable("no voice note in time") from None
