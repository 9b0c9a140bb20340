"""One kind of request to ElevenLabs: how many at once, made again, and when not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from http_clients.circuit_breakers import Breaker
from http_clients.concurrency import ConcurrencyLimiter
from http_clients.retries import retrying
from speech.refusals import translate_errors

T = TypeVar("T")

RETRY_DELAYS = (0.5, 1.0, 2.0)
# Digits in the number of requests that a plan allows at once; more are no such number.
COUNT_DIGITS = 6


class Endpoint:
    """Calls of one kind. ``timeout_factor`` multiplies the pauses between attempts."""

    def __init__(self, *, concurrency: int, breaker: Breaker, timeout_factor: float) -> None:
        self._limiter = ConcurrencyLimiter(concurrency, provider="ElevenLabs")
        self._breaker = breaker
        self._timeout_factor = timeout_factor

    @property
    def available_slots(self) -> int:
        """How many more calls can be made at once without waiting in line."""
        return self._limiter.available_slots

    def set_share(self, processes: int) -> None:
        """Use one of so many equal parts of what the plan allows, though one place at least."""
        self._limiter.set_share(processes)

    def call(self, request: Callable[[], T]) -> T:
        """Make a request of the SDK, again where that helps. Raises ``SpeechError``."""
        retry = retrying(RETRY_DELAYS, factor=self._timeout_factor)
        return self._breaker.call(lambda: cast(T, retry(self._call_once, request)))

    def set_limit(self, headers: Mapping[str, str]) -> None:
        """Allow as many calls at once as the plan does, by the headers of an answer."""
        allowed = headers.get("maximum-concurrent-requests", "")
        if allowed.isdecimal() and len(allowed) <= COUNT_DIGITS:
            self._limiter.set_ceiling(int(allowed))

    def _call_once(self, request: Callable[[], T]) -> T:
        """A call has a place only while it is under way, not while it waits for its next try."""
        with self._limiter.slot():
            return translate_errors(request)
