"""Circuit breakers: what a provider that is down is not asked again and again."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import structlog
from circuitbreaker import CircuitBreaker

from core.errors import BridgeError, DeadlineExceeded
from metrics import Metrics

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Breaker:
    """Opens after so many ``outage`` errors in a row, for ``seconds``; then one call is a probe.

    Any other ``BridgeError``, and success, show that the provider is there.
    """

    def __init__(
        self,
        provider: str,
        refusal: type[BridgeError],
        *,
        failures: int,
        seconds: float,
        metrics: Metrics,
    ) -> None:
        self._provider = provider
        self._refusal = refusal
        self._metrics = metrics
        self._lock = threading.Lock()
        # The states and their clock; it locks nothing, and lets in all while it probes.
        self._circuit = CircuitBreaker(
            failure_threshold=failures,
            recovery_timeout=seconds,
            expected_exception=lambda kind, error: _is_outage(error),
        )
        self._probing = False
        self._tripped = False

    @property
    def provider(self) -> str:
        return self._provider

    @property
    def is_open(self) -> bool:
        """Whether the provider was down when it was last asked."""
        return self._tripped

    def call(self, function: Callable[[], T]) -> T:
        """Make a call. While open, raises the provider's error of not being available, at once."""
        probe = self._enter()
        error: BaseException | None = None
        try:
            return function()
        except BaseException as raised:
            error = raised
            raise
        finally:
            with self._lock:
                self._settle(error, probe=probe)

    def _enter(self) -> bool:
        """Whether the call is a probe."""
        with self._lock:
            if self._circuit.opened or self._probing:
                self._metrics.count("calls_not_made")
                raise self._refusal(
                    f"{self._provider} failed again and again; not asked for a while"
                )
            self._probing = not self._circuit.closed
            return self._probing

    def _settle(self, error: BaseException | None, *, probe: bool) -> None:
        if probe:
            self._probing = False
        # One that began before the others failed tells nothing new.
        late = not probe and not self._circuit.closed
        if not _is_telling(error) or (late and _is_outage(error)):
            return
        self._circuit.__exit__(type(error) if error else None, error, None)
        self._tell()

    def _tell(self) -> None:
        before, self._tripped = self._tripped, not self._circuit.closed
        if self._tripped and not before:
            self._metrics.count("breakers_opened")
            log.error("Provider is down; users are told at once", provider=self._provider)
        elif before and not self._tripped:
            log.info("Provider is back", provider=self._provider)


class CircuitBreakers:
    """The breakers of this process; 0 ``failures`` never open one."""

    def __init__(self, *, failures: int, seconds: float, metrics: Metrics) -> None:
        self._failures = failures or sys.maxsize
        self._seconds = seconds
        self._metrics = metrics
        self._made: list[Breaker] = []

    def create(self, provider: str, refusal: type[BridgeError]) -> Breaker:
        """One more; ``refusal`` is what it raises while it is open."""
        breaker = Breaker(
            provider,
            refusal,
            failures=self._failures,
            seconds=self._seconds,
            metrics=self._metrics,
        )
        self._made.append(breaker)
        return breaker

    def providers_down(self) -> list[str]:
        """The providers that were down when they were last asked."""
        return [breaker.provider for breaker in self._made if breaker.is_open]


def _is_telling(error: BaseException | None) -> bool:
    """Whether it says anything of the provider; a turn that had no time left does not."""
    if error is None:
        return True
    return isinstance(error, BridgeError) and not isinstance(error, DeadlineExceeded)


def _is_outage(error: BaseException | None) -> bool:
    return isinstance(error, BridgeError) and error.outage
