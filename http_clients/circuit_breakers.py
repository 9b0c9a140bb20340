"""Circuit breakers: while a provider is down, calls to it fail at once instead of being made."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Literal, TypeVar

import structlog

from core.errors import BridgeError, DeadlineExceeded
from metrics import Metrics

# The kinds of calls that have a breaker, as ``/health`` names them.
CallKind = Literal[
    "Agentforce sessions",
    "Agentforce answers",
    "ElevenLabs transcription",
    "ElevenLabs synthesis",
]

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Breaker:
    """Closed, open or half-open, for one kind of call to one provider.

    - Closed: every call is made. ``failure_threshold`` outages in a row open the breaker.
    - Open: no call is made for ``recovery_seconds``.
    - Half-open: after that time one call at a time is made, the probe. An outage opens the breaker
      again; any other result closes it.

    An outage is an error whose class has ``outage`` set. Success and every other ``BridgeError``
    show that the provider answers.
    """

    def __init__(
        self,
        provider: CallKind,
        unavailable: type[BridgeError],
        *,
        failure_threshold: int,
        recovery_seconds: float,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._provider = provider
        self._unavailable = unavailable
        self._failure_threshold = failure_threshold
        self._recovery_seconds = recovery_seconds
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._failures_in_row = 0
        # None while closed.
        self._opened_at: float | None = None
        self._probing = False

    @property
    def provider(self) -> CallKind:
        return self._provider

    @property
    def is_open(self) -> bool:
        """Whether the breaker is open or half-open: the provider was down at the last call."""
        return self._opened_at is not None

    def call(self, function: Callable[[], T]) -> T:
        """Call ``function``. While the breaker is open, raise ``unavailable`` at once instead."""
        is_probe = self._admit()
        try:
            result = function()
        except BaseException as error:
            self._record(error, is_probe=is_probe)
            raise
        self._record(None, is_probe=is_probe)
        return result

    def _admit(self) -> bool:
        """Returns whether the call is the probe. Raises ``unavailable`` if it may not be made."""
        with self._lock:
            if self._opened_at is None:
                return False
            if self._probing or self._clock() < self._opened_at + self._recovery_seconds:
                self._metrics.count("calls_not_made")
                raise self._unavailable(
                    f"{self._provider} failed again and again; not called for a while"
                )
            self._probing = True
            return True

    def _record(self, error: BaseException | None, *, is_probe: bool) -> None:
        with self._lock:
            if is_probe:
                self._probing = False
            if not _is_conclusive(error):
                return
            if not _is_outage(error):
                self._close()
            elif is_probe or self._opened_at is None:
                self._count_outage()
            # Otherwise the call began before the breaker opened, so its outage is known already.

    def _count_outage(self) -> None:
        self._failures_in_row += 1
        if self._failures_in_row < self._failure_threshold:
            return
        was_closed = self._opened_at is None
        self._opened_at = self._clock()
        if was_closed:
            self._metrics.count("breakers_opened")
            log.error("Provider is down; users are told at once", provider=self._provider)

    def _close(self) -> None:
        self._failures_in_row = 0
        if self._opened_at is not None:
            self._opened_at = None
            log.info("Provider is back", provider=self._provider)


class CircuitBreakers:
    """Creates the breakers of this process and lists those that are open.

    A breaker opens after ``failures`` outages in a row (0: never) for ``seconds``. ``clock``
    returns monotonic seconds.
    """

    def __init__(
        self,
        *,
        failures: int,
        seconds: float,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failure_threshold = failures or sys.maxsize
        self._recovery_seconds = seconds
        self._metrics = metrics
        self._clock = clock
        self._breakers: list[Breaker] = []

    def create(self, provider: CallKind, unavailable: type[BridgeError]) -> Breaker:
        """A new breaker for ``provider``, which raises ``unavailable`` while it is open."""
        breaker = Breaker(
            provider,
            unavailable,
            failure_threshold=self._failure_threshold,
            recovery_seconds=self._recovery_seconds,
            metrics=self._metrics,
            clock=self._clock,
        )
        self._breakers.append(breaker)
        return breaker

    def providers_down(self) -> list[str]:
        """The providers whose breakers are open or half-open."""
        return [breaker.provider for breaker in self._breakers if breaker.is_open]


def _is_conclusive(error: BaseException | None) -> bool:
    """Whether the result shows if the provider is up: an error of ours or a deadline does not."""
    if error is None:
        return True
    return isinstance(error, BridgeError) and not isinstance(error, DeadlineExceeded)


def _is_outage(error: BaseException | None) -> bool:
    return isinstance(error, BridgeError) and error.outage
