"""A cache of speech, so that the same text is synthesised only once."""

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
from storage.speech import SpeechSegment, SpeechTable

log = structlog.get_logger(__name__)


class SpeechCache:
    """A ``Synthesizer`` that gets audio from memory or ``shared`` if it was synthesised before.

    Memory holds ``max_bytes`` of audio, each segment for up to ``lifetime`` seconds. New audio is
    written to ``shared``, a table that several processes use, on a thread of ``pool``.
    """

    def __init__(
        self,
        *,
        speech: Speech,
        metrics: Metrics,
        max_bytes: int,
        lifetime: float,
        shared: SpeechTable | None,
        pool: Executor,
    ) -> None:
        self._speech = speech
        self._metrics = metrics
        self._shared = shared
        self._pool = pool
        # Whether the shared table failed when it was last used.
        self._failing = False
        self._lock = threading.Lock()
        # The audio that is being synthesised, by its key.
        self._in_progress: dict[str, Future[bytes]] = {}
        self._memory: TLRUCache[str, SpeechSegment] = TLRUCache(
            max_bytes,
            ttu=lambda _, segment, __: segment.made_at + lifetime,
            timer=time.time,
            getsizeof=lambda segment: len(segment.audio),
        )

    @property
    def available_slots(self) -> int:
        """The number of segments that could be synthesised right now without waiting."""
        return self._speech.available_slots

    def synthesize(
        self, text: str, language: str | None, *, previous: str = "", following: str = ""
    ) -> bytes:
        """Synthesise ``text`` as Ogg/Opus. Raises ``SpeechError`` or ``DeadlineExceeded``.

        If another thread is synthesising the same text, both get the same audio or the same error,
        except that this thread tries by itself if the other one ran out of time. ``previous`` and
        ``following`` only influence the intonation, so they are not part of the cache key.
        """
        while True:
            key = self._key(text, language)
            ours: Future[bytes] = Future()
            with self._lock:
                audio = self._recall(key) or self._in_progress.setdefault(key, ours)
            if audio is ours:
                return self._synthesize_for_all(ours, key, text, language, previous, following)
            failure = _await_failure(audio)
            if failure is None:
                self._count_hit(text)
                return audio.result()
            if not _is_own_failure(failure):
                raise failure

    def _synthesize_for_all(
        self,
        ours: Future[bytes],
        key: str,
        text: str,
        language: str | None,
        previous: str,
        following: str,
    ) -> bytes:
        """Get the audio, and pass it or the error on to the threads that wait for ``ours``."""
        try:
            audio = self._fetch(key, text, language, previous, following)
        except BaseException as error:
            self._remove_in_progress(key)
            ours.set_exception(error)
            raise
        self._remove_in_progress(key)
        ours.set_result(audio)
        return audio

    def _remove_in_progress(self, key: str) -> None:
        """Call this before waiting threads wake up: one that tries again must not find it."""
        with self._lock:
            del self._in_progress[key]

    def _fetch(
        self, key: str, text: str, language: str | None, previous: str, following: str
    ) -> bytes:
        segment = self._find_shared(key)
        if segment:
            self._count_hit(text)
        else:
            self._metrics.count("speech_cache_misses")
            audio = self._speech.synthesize(text, language, previous=previous, following=following)
            segment = SpeechSegment(audio, time.time())
            # The key names the format, which has changed if the plan refused Opus.
            key = self._key(text, language)
            if self._shared:
                self._pool.submit(self._share, self._shared, key, segment)
        self._remember(key, segment)
        return segment.audio

    def _key(self, text: str, language: str | None) -> str:
        parts = json.dumps(self._speech.synthesis_key(text, language))
        return hashlib.sha256(parts.encode()).hexdigest()

    def _recall(self, key: str) -> Future[bytes] | None:
        try:
            segment = self._memory[key]
        except KeyError:
            return None
        audio: Future[bytes] = Future()
        audio.set_result(segment.audio)
        return audio

    def _remember(self, key: str, segment: SpeechSegment) -> None:
        if len(segment.audio) <= self._memory.maxsize:
            with self._lock:
                self._memory[key] = segment

    def _find_shared(self, key: str) -> SpeechSegment | None:
        """The segment in the shared table; ``None`` also if the database fails."""
        if self._shared is None:
            return None
        try:
            segment = self._shared.find(key)
        except StorageError as error:
            self._log_once(error)
            return None
        self._failing = False
        return segment

    def _share(self, shared: SpeechTable, key: str, segment: SpeechSegment) -> None:
        try:
            shared.save(key, segment)
        except StorageError as error:
            self._log_once(error)

    def _log_once(self, error: StorageError) -> None:
        if not self._failing:
            log.error("Speech cannot be shared; trying again", error=type(error).__name__)
        self._failing = True

    def _count_hit(self, text: str) -> None:
        self._metrics.count("speech_cache_hits")
        self._metrics.count("speech_characters_saved", len(text))


def _await_failure(audio: Future[bytes]) -> BaseException | None:
    """The exception of ``audio``, if it failed. Raises ``DeadlineExceeded`` if it is too slow."""
    try:
        return audio.exception(remaining_time())
    except TimeoutError:
        raise DeadlineExceeded("the same text is still being spoken for another turn") from None


def _is_own_failure(failure: BaseException) -> bool:
    """Whether the error is one of the other thread only, such as its deadline."""
    if isinstance(failure, BridgeError):
        return failure.cut_short or isinstance(failure, DeadlineExceeded)
    return not isinstance(failure, Exception)
