"""A provider that is down is not called; one probe at a time finds out when it is back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from core.errors import (
    AgentBusy,
    AgentDown,
    AgentFailed,
    AgentUnavailable,
    DeadlineExceeded,
    SpeechUnavailable,
)
from http_clients.circuit_breakers import Breaker, CircuitBreakers
from metrics import Metrics

FAILURES = 3
SECONDS = 30.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def breakers(clock: Clock, metrics: Metrics) -> CircuitBreakers:
    return CircuitBreakers(failures=FAILURES, seconds=SECONDS, metrics=metrics, clock=clock)


@pytest.fixture
def breaker(breakers: CircuitBreakers) -> Breaker:
    return breakers.create("Agentforce answers", AgentUnavailable)


def raiser(error: Exception) -> Callable[[], str]:
    def call() -> str:
        raise error

    return call


class HeldCall:
    """A call that begins, and returns or raises when it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self._error = error

    def __call__(self) -> str:
        self.begun.set()
        assert self.may_end.wait(10)
        if self._error:
            raise self._error
        return "answer"


def call_and_fail(breaker: Breaker, *errors: Exception) -> None:
    """Make one call for each error, which raises it."""
    for error in errors:
        with pytest.raises(type(error)) as caught:
            breaker.call(raiser(error))
        assert caught.value is error


def outages(number: int) -> list[Exception]:
    return [AgentDown() for _ in range(number)]


def trip(breaker: Breaker) -> None:
    """Open the breaker."""
    call_and_fail(breaker, *outages(FAILURES))


def never_called() -> str:
    raise AssertionError


def test_a_successful_call_returns_its_result(breaker: Breaker) -> None:
    assert breaker.call(lambda: "answer") == "answer"


def test_outages_in_a_row_open_the_breaker(
    breaker: Breaker, breakers: CircuitBreakers, metrics: Metrics
) -> None:
    call_and_fail(breaker, *outages(FAILURES - 1))
    assert breakers.providers_down() == []
    call_and_fail(breaker, AgentUnavailable())
    assert breakers.providers_down() == ["Agentforce answers"]
    with pytest.raises(AgentUnavailable, match="Agentforce answers failed again and again"):
        breaker.call(never_called)
    counters = metrics.snapshot().counters
    assert (counters["breakers_opened"], counters["calls_not_made"]) == (1, 1)


@pytest.mark.parametrize("error", [None, AgentBusy(), AgentFailed()])
def test_success_or_another_error_of_the_provider_resets_the_count(
    breaker: Breaker, error: Exception | None
) -> None:
    call_and_fail(breaker, *outages(FAILURES - 1))
    if error:
        call_and_fail(breaker, error)
    else:
        breaker.call(lambda: "answer")
    call_and_fail(breaker, *outages(FAILURES - 1))
    assert breaker.call(lambda: "answer") == "answer"


@pytest.mark.parametrize("error", [DeadlineExceeded(), ValueError()])
def test_errors_that_say_nothing_about_the_provider_are_ignored(
    breaker: Breaker, error: Exception
) -> None:
    call_and_fail(breaker, AgentDown(), error, AgentDown(), error, AgentDown())
    assert breaker.is_open


def test_a_successful_probe_closes_the_breaker(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += SECONDS - 1
    with pytest.raises(AgentUnavailable):
        breaker.call(never_called)
    clock.now += 1
    assert breaker.call(lambda: "answer") == "answer"
    assert not breaker.is_open
    call_and_fail(breaker, AgentDown())
    assert breaker.call(lambda: "answer") == "answer"


def test_a_failed_probe_opens_the_breaker_again_for_as_long(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += SECONDS
    call_and_fail(breaker, AgentDown())
    clock.now += SECONDS - 1
    with pytest.raises(AgentUnavailable):
        breaker.call(never_called)


def test_an_inconclusive_probe_is_followed_by_another(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += SECONDS
    call_and_fail(breaker, DeadlineExceeded())
    assert breaker.call(lambda: "answer") == "answer"


def test_only_one_thread_probes_and_the_others_fail_at_once(breaker: Breaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += SECONDS
    probe = HeldCall()
    with ThreadPoolExecutor(1) as pool:
        probing = pool.submit(breaker.call, probe)
        assert probe.begun.wait(10)
        for _ in range(3):
            with pytest.raises(AgentUnavailable):
                breaker.call(never_called)
        probe.may_end.set()
        assert probing.result(10) == "answer"
    assert breaker.call(lambda: "answer") == "answer"


def test_calls_run_side_by_side(breaker: Breaker) -> None:
    together = threading.Barrier(4, timeout=10)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: breaker.call(together.wait), range(4)))) == 4


def test_late_outages_of_earlier_calls_do_not_prolong_the_open_state(
    breaker: Breaker, clock: Clock
) -> None:
    call = HeldCall(AgentDown())
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(breaker.call, call)
        assert call.begun.wait(10)
        trip(breaker)
        clock.now += SECONDS - 1
        call.may_end.set()
        assert isinstance(late.exception(10), AgentDown)
    clock.now += 1
    assert breaker.call(lambda: "answer") == "answer"


def test_a_late_success_of_an_earlier_call_closes_the_breaker(breaker: Breaker) -> None:
    call = HeldCall()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(breaker.call, call)
        assert call.begun.wait(10)
        trip(breaker)
        call.may_end.set()
        assert late.result(10) == "answer"
    assert not breaker.is_open


def test_opening_and_closing_are_logged_once_each(breaker: Breaker, clock: Clock) -> None:
    with capture_logs() as logged:
        trip(breaker)
        for _ in range(3):
            clock.now += SECONDS
            call_and_fail(breaker, AgentDown())
        clock.now += SECONDS
        breaker.call(lambda: "answer")
        breaker.call(lambda: "answer")
    assert [line["event"] for line in logged] == [
        "Provider is down; users are told at once",
        "Provider is back",
    ]


def test_each_breaker_opens_by_itself(breaker: Breaker, breakers: CircuitBreakers) -> None:
    other = breakers.create("ElevenLabs synthesis", SpeechUnavailable)
    trip(breaker)
    assert other.call(lambda: "answer") == "answer"
    assert breakers.providers_down() == ["Agentforce answers"]


def test_zero_failures_never_open_a_breaker(metrics: Metrics) -> None:
    breaker = CircuitBreakers(failures=0, seconds=SECONDS, metrics=metrics).create(
        "Agentforce sessions", AgentUnavailable
    )
    call_and_fail(breaker, *outages(99))
    assert breaker.call(lambda: "answer") == "answer"
