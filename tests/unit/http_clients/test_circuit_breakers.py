"""A provider that is down is not asked again and again, and found when it is back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import circuitbreaker
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
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(circuitbreaker, "monotonic", clock)
    return clock


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def breakers(clock: Clock, metrics: Metrics) -> CircuitBreakers:
    return CircuitBreakers(failures=FAILURES, seconds=SECONDS, metrics=metrics)


@pytest.fixture
def breaker(breakers: CircuitBreakers) -> Breaker:
    return breakers.create("a provider", AgentUnavailable)


def failing(error: Exception) -> Callable[[], str]:
    def call() -> str:
        raise error

    return call


def fail(breaker: Breaker, *errors: Exception) -> None:
    for error in errors:
        with pytest.raises(type(error)) as caught:
            breaker.call(failing(error))
        assert caught.value is error


def open_it(breaker: Breaker) -> None:
    fail(breaker, *(AgentDown() for _ in range(FAILURES)))


def never_called() -> str:
    raise AssertionError


def test_a_call_that_works_is_a_call(breaker: Breaker) -> None:
    assert breaker.call(lambda: "answer") == "answer"


def test_after_failures_in_a_row_the_cloud_is_not_asked(
    breaker: Breaker, breakers: CircuitBreakers, metrics: Metrics
) -> None:
    fail(breaker, *(AgentDown() for _ in range(FAILURES - 1)))
    assert breakers.providers_down() == []
    fail(breaker, AgentUnavailable())
    assert breakers.providers_down() == ["a provider"]
    with pytest.raises(AgentUnavailable, match="a provider failed again and again"):
        breaker.call(never_called)
    counters = metrics.snapshot().counters
    assert (counters["breakers_opened"], counters["calls_not_made"]) == (1, 1)


@pytest.mark.parametrize("end", [None, AgentBusy(), AgentFailed()])
def test_what_shows_that_the_cloud_is_there_starts_the_count_anew(
    breaker: Breaker, end: Exception | None
) -> None:
    fail(breaker, *(AgentDown() for _ in range(FAILURES - 1)))
    if end:
        fail(breaker, end)
    else:
        breaker.call(lambda: "answer")
    fail(breaker, *(AgentDown() for _ in range(FAILURES - 1)))
    assert breaker.call(lambda: "answer") == "answer"


@pytest.mark.parametrize("end", [DeadlineExceeded(), ValueError()])
def test_what_says_nothing_of_the_cloud_is_not_counted(breaker: Breaker, end: Exception) -> None:
    fail(breaker, AgentDown(), end, AgentDown(), end, AgentDown())
    assert breaker.is_open


def test_after_a_while_one_call_is_made_and_finds_it_back(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.now += SECONDS - 1
    with pytest.raises(AgentUnavailable):
        breaker.call(never_called)
    clock.now += 1
    assert breaker.call(lambda: "answer") == "answer"
    assert not breaker.is_open
    fail(breaker, AgentDown())
    assert breaker.call(lambda: "answer") == "answer"


def test_a_probe_that_fails_is_the_only_one_for_another_while(
    breaker: Breaker, clock: Clock
) -> None:
    open_it(breaker)
    clock.now += SECONDS
    fail(breaker, AgentDown())
    clock.now += SECONDS - 1
    with pytest.raises(AgentUnavailable):
        breaker.call(never_called)


def test_a_probe_that_says_nothing_is_followed_by_another(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.now += SECONDS
    fail(breaker, DeadlineExceeded())
    assert breaker.call(lambda: "answer") == "answer"


def test_of_many_threads_one_probes_and_none_waits_for_it(breaker: Breaker, clock: Clock) -> None:
    open_it(breaker)
    clock.now += SECONDS
    asked, answered = threading.Event(), threading.Event()

    def probe() -> str:
        asked.set()
        assert answered.wait(10)
        return "answer"

    with ThreadPoolExecutor(1) as pool:
        probing = pool.submit(breaker.call, probe)
        assert asked.wait(10)
        for _ in range(3):
            with pytest.raises(AgentUnavailable):
                breaker.call(never_called)
        answered.set()
        assert probing.result(10) == "answer"
    assert breaker.call(lambda: "answer") == "answer"


def test_calls_do_not_wait_for_each_other(breaker: Breaker) -> None:
    together = threading.Barrier(4, timeout=10)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: breaker.call(together.wait), range(4)))) == 4


def test_those_that_fail_late_do_not_keep_it_open(breaker: Breaker, clock: Clock) -> None:
    """They were asked before it opened."""
    asked, over = threading.Event(), threading.Event()

    def hang() -> str:
        asked.set()
        assert over.wait(10)
        raise AgentDown

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(breaker.call, hang)
        assert asked.wait(10)
        open_it(breaker)
        clock.now += SECONDS - 1
        over.set()
        assert isinstance(late.exception(10), AgentDown)
    clock.now += 1
    assert breaker.call(lambda: "answer") == "answer"


def test_it_is_logged_once_that_it_opened_and_once_that_it_closed(
    breaker: Breaker, clock: Clock
) -> None:
    with capture_logs() as logged:
        open_it(breaker)
        for _ in range(3):
            clock.now += SECONDS
            fail(breaker, AgentDown())
        clock.now += SECONDS
        breaker.call(lambda: "answer")
        breaker.call(lambda: "answer")
    assert [line["event"] for line in logged] == [
        "Provider is down; users are told at once",
        "Provider is back",
    ]


def test_one_cloud_is_none_of_the_others_business(
    breaker: Breaker, breakers: CircuitBreakers
) -> None:
    other = breakers.create("another provider", SpeechUnavailable)
    open_it(breaker)
    assert other.call(lambda: "answer") == "answer"
    assert breakers.providers_down() == ["a provider"]


def test_zero_is_never(clock: Clock, metrics: Metrics) -> None:
    breaker = CircuitBreakers(failures=0, seconds=SECONDS, metrics=metrics).create(
        "c", AgentUnavailable
    )
    fail(breaker, *(AgentDown() for _ in range(99)))
    assert breaker.call(lambda: "answer") == "answer"
