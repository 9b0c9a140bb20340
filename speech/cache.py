"""The same piece of text is synthesised once."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from concurrent.futures import Executor, Future

import structlog
from cachetools import TLRUCache

from core.deadline import remaining_time
from core.errors import BridgeError, DeadlineExceeded
from metrics import Metrics
from speech.elevenlabs import Speech
from storage.database import StorageError
from storage.speech import AudioSegment, AudioTable

log = structlog.get_logger(__name__)


class SpeechCache:
    """Speaks like ``Speech``, but what it spoke before from memory or from ``shared``.

    Memory holds ``most_bytes`` of audio, each piece for ``lifetime`` seconds at most. What is new
    is shared on a thread of ``pool``.
    """

    def __init__(
        self,
        *,
        speech: Speech,
        metrics: Metrics,
        most_bytes: int,
        lifetime: float,
        shared: AudioTable | None,
        pool: Executor,
    ) -> None:
        self._speech = speech
        self._metrics = metrics
        self._shared = shared
        self._pool = pool
        self._failing = False
        self._lock = threading.Lock()
        self._speaking: dict[str, Future[bytes]] = {}
        self._memory: TLRUCache[str, AudioSegment] = TLRUCache(
            most_bytes,
            ttu=lambda _, piece, __: piece.made_at + lifetime,
            timer=time.time,
            getsizeof=lambda piece: len(piece.audio),
        )

    @property
    def available_slots(self) -> int:
        """How many more pieces can be synthesised at once without waiting in line."""
        return self._speech.available_slots

    def synthesize(
        self, text: str, language: str | None, *, previous: str = "", following: str = ""
    ) -> bytes:
        """``text`` spoken, as Ogg/Opus. Raises ``SpeechError`` or ``DeadlineExceeded``.

        Whoever asks for what is being synthesised waits for that, and shares its failure unless
        that is only the other one's own: then it tries itself.
        ``previous`` and ``following`` colour the melody only: any recording of ``text`` will do.
        """
        while True:
            key = self._key(text, language)
            ours: Future[bytes] = Future()
            with self._lock:
                audio = self._remembered(key) or self._speaking.setdefault(key, ours)
            if audio is ours:
                return self._spoken(ours, key, text, language, previous, following)
            failure = _awaited(audio)
            if failure is None:
                self._count_hit(text)
                return audio.result()
            if not _is_of_one(failure):
                raise failure

    def _spoken(
        self,
        ours: Future[bytes],
        key: str,
        text: str,
        language: str | None,
        previous: str,
        following: str,
    ) -> bytes:
        """What comes of it is told to those who wait for ``ours``."""
        try:
            audio = self._obtained(key, text, language, previous, following)
        except BaseException as error:
            self._end(key)
            ours.set_exception(error)
            raise
        self._end(key)
        ours.set_result(audio)
        return audio

    def _end(self, key: str) -> None:
        """Before those who wait are told: whoever then tries itself must not find it again."""
        with self._lock:
            del self._speaking[key]

    def _obtained(
        self, key: str, text: str, language: str | None, previous: str, following: str
    ) -> bytes:
        piece = self._find_shared(key)
        if piece:
            self._count_hit(text)
        else:
            self._metrics.count("speech_cache_misses")
            audio = self._speech.synthesize(text, language, previous=previous, following=following)
            piece = AudioSegment(audio, time.time())
            # A plan that refuses a format leads to another one.
            key = self._key(text, language)
            if self._shared:
                self._pool.submit(self._share, self._shared, key, piece)
        self._remember(key, piece)
        return piece.audio

    def _key(self, text: str, language: str | None) -> str:
        parts = json.dumps([*self._speech.voice_key(language), text])
        return hashlib.sha256(parts.encode()).hexdigest()

    def _remembered(self, key: str) -> Future[bytes] | None:
        try:
            piece = self._memory[key]
        except KeyError:
            return None
        audio: Future[bytes] = Future()
        audio.set_result(piece.audio)
        return audio

    def _remember(self, key: str, piece: AudioSegment) -> None:
        if len(piece.audio) <= self._memory.maxsize:
            with self._lock:
                self._memory[key] = piece

    def _find_shared(self, key: str) -> AudioSegment | None:
        """A database that fails costs a synthesis, never an answer."""
        if self._shared is None:
            return None
        try:
            piece = self._shared.find(key)
        except StorageError as error:
            self._log_once(error)
            return None
        self._failing = False
        return piece

    def _share(self, shared: AudioTable, key: str, piece: AudioSegment) -> None:
        try:
            shared.save(key, piece)
        except StorageError as error:
            self._log_once(error)

    def _log_once(self, error: StorageError) -> None:
        if not self._failing:
            log.error("Speech cannot be shared; trying again", error=type(error).__name__)
        self._failing = True

    def _count_hit(self, text: str) -> None:
        self._metrics.count("speech_cache_hits")
        self._metrics.count("speech_characters_saved", len(text))


def _awaited(audio: Future[bytes]) -> BaseException | None:
    """How it failed, if it did. Raises ``DeadlineExceeded`` where it does not end in time."""
    try:
        return audio.exception(remaining_time())
    except TimeoutError:
        raise DeadlineExceeded("the same is still being spoken for another") from None


def _is_of_one(failure: BaseException) -> bool:
    """Whether it says nothing of ElevenLabs: that one had no more time, or its thread was ended."""
    if isinstance(failure, BridgeError):
        return failure.cut_short or isinstance(failure, DeadlineExceeded)
    return not isinstance(failure, Exception)
