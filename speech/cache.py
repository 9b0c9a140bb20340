"""A cache of speech: the same piece of text is synthesised once."""

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
    """Speaks like ``Speech``, but takes audio that was made before from memory or ``shared``.

    Memory holds ``max_bytes`` of audio, each piece for ``lifetime`` seconds at most. New audio is
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
        # What is being synthesised, by its key.
        self._under_way: dict[str, Future[bytes]] = {}
        self._memory: TLRUCache[str, SpeechSegment] = TLRUCache(
            max_bytes,
            ttu=lambda _, segment, __: segment.made_at + lifetime,
            timer=time.time,
            getsizeof=lambda segment: len(segment.audio),
        )

    @property
    def available_slots(self) -> int:
        """How many more pieces can be synthesised at once without waiting in line."""
        return self._speech.available_slots

    def synthesize(
        self, text: str, language: str | None, *, previous: str = "", following: str = ""
    ) -> bytes:
        """``text`` spoken, as Ogg/Opus. Raises ``SpeechError`` or ``DeadlineExceeded``.

        A text that another thread is synthesising is not synthesised again: both get the same
        audio or the same failure. Only where that thread ran out of its own time does this one try.
        ``previous`` and ``following`` change the melody only, so any recording of ``text`` will do.
        """
        while True:
            key = self._key(text, language)
            ours: Future[bytes] = Future()
            with self._lock:
                audio = self._recall(key) or self._under_way.setdefault(key, ours)
            if audio is ours:
                return self._complete(ours, key, text, language, previous, following)
            failure = _await_failure(audio)
            if failure is None:
                self._count_hit(text)
                return audio.result()
            if not _concerns_one_thread(failure):
                raise failure

    def _complete(
        self,
        ours: Future[bytes],
        key: str,
        text: str,
        language: str | None,
        previous: str,
        following: str,
    ) -> bytes:
        """Get the audio, and hand it or its failure to the threads that wait for ``ours``."""
        try:
            audio = self._fetch(key, text, language, previous, following)
        except BaseException as error:
            self._end(key)
            ours.set_exception(error)
            raise
        self._end(key)
        ours.set_result(audio)
        return audio

    def _end(self, key: str) -> None:
        """No longer under way. Before the others wake: one that tries next must not find it."""
        with self._lock:
            del self._under_way[key]

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
            # It may be in another format now, if the plan refused the first.
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
        """The piece in the shared table; ``None`` too where the database fails."""
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


def _concerns_one_thread(failure: BaseException) -> bool:
    """Whether only its thread failed, by its own deadline or end, and not ElevenLabs."""
    if isinstance(failure, BridgeError):
        return failure.cut_short or isinstance(failure, DeadlineExceeded)
    return not isinstance(failure, Exception)
