"""One kind of request to ElevenLabs, with its concurrency limit, retries and circuit breaker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from http_clients.circuit_breakers import Breaker
from http_clients.concurrency import ConcurrencyLimiter
from http_clients.retries import retrying
from metrics import Metrics
from speech.refusals import translate_errors

T = TypeVar("T")

RETRY_DELAYS = (0.5, 1.0, 2.0)
# A number of parallel requests with more digits than this is not plausible.
MAX_COUNT_DIGITS = 6


class Endpoint:
    """``kind`` is ``transcription`` or ``synthesis``.

    ``timeout_factor`` multiplies the pauses between attempts.
    """

    def __init__(
        self,
        *,
        kind: str,
        concurrency: int,
        breaker: Breaker,
        metrics: Metrics,
        timeout_factor: float,
    ) -> None:
        self._call_name = f"elevenlabs {kind}"
        self._metrics = metrics
        self._limiter = ConcurrencyLimiter(concurrency, provider="ElevenLabs")
        self._breaker = breaker
        self._timeout_factor = timeout_factor

    @property
    def available_slots(self) -> int:
        """The number of calls that could be made right now without waiting."""
        return self._limiter.available_slots

    @property
    def limit(self) -> int:
        """The number of calls that may be made at once."""
        return self._limiter.limit

    def set_share(self, processes: int) -> None:
        """Use one of ``processes`` equal parts of the plan's concurrency; at least one slot."""
        self._limiter.set_share(processes)

    def call(self, request: Callable[[], T]) -> T:
        """Make a request of the SDK, with retries. Raises ``SpeechError``."""
        retry = retrying(RETRY_DELAYS, factor=self._timeout_factor)
        return self._breaker.call(lambda: cast(T, retry(self._call_once, request)))

    def set_limit(self, headers: Mapping[str, str]) -> None:
        """Allow as many calls at once as the plan does, according to the headers of a response."""
        allowed = headers.get("maximum-concurrent-requests", "")
        if allowed.isdecimal() and len(allowed) <= MAX_COUNT_DIGITS:
            self._limiter.set_ceiling(int(allowed))

    def _call_once(self, request: Callable[[], T]) -> T:
        """A call holds its slot during each attempt, not while it waits for the next one."""
        with self._limiter.slot(), self._metrics.watch(self._call_name):
            return translate_errors(request)
