"""A limiter gives out slots in order of arrival, and learns its limit from refusals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import AgentBusy, AgentLocked, SendBusy, SendUnreachable, SpeechBusy
from http_clients.concurrency import ConcurrencyLimiter

WAIT_SECONDS = 10.0

# How a request ends: None is success.
Outcome = Exception | None
REFUSED = AgentBusy()


class Requests:
    """Threads that ask for a slot one after the other, and hold it until they are finished."""

    def __init__(self, ceiling: int) -> None:
        self.limiter = ConcurrencyLimiter(ceiling, provider="a test")
        self.changed = threading.Condition()
        self.in_flight: list[int] = []
        self.started: list[int] = []
        self.finished: list[int] = []
        self.exceeded_limit = False
        self.outcomes: dict[int, Outcome] = {}
        self.threads: list[threading.Thread] = []

    def start(self, count: int = 1) -> None:
        for _ in range(count):
            number = len(self.threads)
            thread = threading.Thread(target=self._run, args=(number,), daemon=True)
            self.threads.append(thread)
            thread.start()
            # The next one starts once this one has a slot or waits.
            while not self._arrived(number + 1):
                thread.join(0.001)

    def finish(self, number: int, outcome: Outcome = None) -> None:
        """Let the request ``number``, which is in flight, succeed or raise."""
        with self.changed:
            self.outcomes[number] = outcome
            self.changed.notify_all()
        self.wait_until(lambda: number in self.finished)

    def finish_all(self, outcome: Outcome = None) -> None:
        """Finish those that are in flight now."""
        for number in list(self.in_flight):
            self.finish(number, outcome)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(holds, WAIT_SECONDS)

    def settle(self) -> None:
        """Wait until every request that there is a slot for is in flight."""
        unfinished = len(self.threads) - len(self.finished)
        self.wait_until(lambda: len(self.in_flight) >= min(unfinished, self.limiter.limit))

    def _arrived(self, count: int) -> bool:
        return len(self.started) + len(self.limiter._waiters) >= count

    def _run(self, number: int) -> None:
        try:
            with self.limiter.slot():
                self._hold_slot(number)
        except (AgentBusy, AgentLocked, ValueError):
            pass
        with self.changed:
            self.finished.append(number)
            self.changed.notify_all()

    def _hold_slot(self, number: int) -> None:
        with self.changed:
            self.in_flight.append(number)
            self.started.append(number)
            self.exceeded_limit |= len(self.in_flight) > self.limiter.limit
            self.changed.notify_all()
            self.changed.wait_for(lambda: number in self.outcomes)
            self.in_flight.remove(number)
        outcome = self.outcomes[number]
        if outcome is not None:
            raise outcome


def test_no_more_requests_than_the_ceiling_are_in_flight() -> None:
    requests = Requests(2)
    requests.start(5)
    requests.settle()
    assert requests.in_flight == [0, 1]


def test_slots_are_given_out_in_order_of_arrival() -> None:
    requests = Requests(1)
    requests.start(4)
    for number in range(4):
        requests.settle()
        requests.finish(number)
    assert requests.started == [0, 1, 2, 3]


def test_a_higher_ceiling_gives_waiting_requests_a_slot() -> None:
    requests = Requests(1)
    requests.start(4)
    requests.limiter.set_ceiling(3)
    requests.settle()
    assert sorted(requests.in_flight) == [0, 1, 2]


def test_a_lower_ceiling_holds_until_enough_requests_have_finished() -> None:
    requests = Requests(3)
    requests.start(5)
    requests.settle()
    requests.limiter.set_ceiling(0)
    requests.finish(0)
    requests.finish(1)
    assert requests.in_flight == [2]
    requests.finish(2)
    requests.settle()
    assert requests.in_flight == [3]


@pytest.mark.parametrize(
    ("ceiling", "processes", "limit"), [(10, 1, 10), (10, 3, 3), (2, 5, 1), (10, 0, 10)]
)
def test_processes_share_the_ceiling(ceiling: int, processes: int, limit: int) -> None:
    limiter = ConcurrencyLimiter(ceiling, provider="a test")
    limiter.set_share(processes)
    assert limiter.limit == limit


def test_a_new_ceiling_is_shared_too() -> None:
    limiter = ConcurrencyLimiter(10, provider="a test")
    limiter.set_share(2)
    limiter.set_ceiling(8)
    assert limiter.limit == 4


def test_refusals_of_requests_in_flight_together_halve_the_limit_once() -> None:
    requests = Requests(8)
    requests.start(16)
    requests.settle()
    for number in range(8):
        requests.finish(number, REFUSED)
    assert requests.limiter.limit == 4


def test_each_further_refusal_halves_the_limit_down_to_one() -> None:
    requests = Requests(8)
    requests.start(24)
    limits = []
    for _ in range(5):
        requests.settle()
        requests.finish_all(REFUSED)
        limits.append(requests.limiter.limit)
    assert limits == [4, 2, 1, 1, 1]


def test_a_refusal_counts_if_its_slot_was_given_out_after_the_last_decrease() -> None:
    """Even if the request began to wait before it."""
    requests = Requests(2)
    requests.start(3)
    requests.settle()
    requests.finish(0, REFUSED)
    requests.limiter.set_ceiling(2)
    requests.finish(1)
    requests.settle()
    before = requests.limiter.limit
    requests.finish(2, REFUSED)
    assert (before, requests.limiter.limit) == (2, 1)


def test_the_limit_is_learned_from_requests_in_flight_not_from_the_ceiling() -> None:
    requests = Requests(128)
    requests.start(6)
    requests.settle()
    requests.finish_all(REFUSED)
    assert requests.limiter.limit == 3


def test_as_many_successes_as_the_limit_raise_it_by_one_up_to_the_ceiling() -> None:
    requests = Requests(4)
    requests.start(1)
    requests.settle()
    requests.finish(0, REFUSED)
    limits = []
    for number in range(1, 12):
        requests.start()
        requests.settle()
        requests.finish(number)
        limits.append(requests.limiter.limit)
    assert limits == [2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4]


@pytest.mark.parametrize("error", [AgentLocked(), ValueError()])
def test_other_errors_release_the_slot_and_leave_the_limit(error: Exception) -> None:
    requests = Requests(4)
    requests.start(20)
    for number in range(20):
        requests.settle()
        requests.finish(number, error)
    assert requests.limiter.limit == 4


def test_which_errors_are_rate_limits() -> None:
    assert all(error.rate_limited for error in (SpeechBusy, AgentBusy, SendBusy))
    assert not any(error.rate_limited for error in (AgentLocked, SendUnreachable))


STEPS = st.one_of(
    st.tuples(st.just("start"), st.integers(1, 4)),
    st.tuples(st.sampled_from(["served", "refused", "failed"]), st.integers(0, 20)),
    st.tuples(st.sampled_from(["resize", "share"]), st.integers(0, 8)),
)
OUTCOMES: dict[str, Outcome] = {"served": None, "refused": REFUSED, "failed": ValueError()}


@settings(max_examples=60)
@given(ceiling=st.integers(1, 8), steps=st.lists(STEPS, max_size=30))
def test_whatever_happens_the_limit_holds_and_every_request_finishes(
    ceiling: int, steps: list[tuple[str, int]]
) -> None:
    """The limit is never exceeded nor above the ceiling, and slots are given out in order."""
    requests = Requests(ceiling)
    for step, number in steps:
        in_flight = requests.in_flight
        if step == "start":
            requests.start(number)
        elif step in OUTCOMES and in_flight:
            requests.finish(sorted(in_flight)[number % len(in_flight)], OUTCOMES[step])
        elif step == "resize":
            requests.limiter.set_ceiling(number)
            ceiling = max(number, 1)
        elif step == "share":
            requests.limiter.set_share(number)
        requests.settle()
        assert 1 <= requests.limiter.limit <= ceiling
        assert set(requests.started) == set(range(len(requests.started)))
    while len(requests.finished) < len(requests.threads):
        requests.settle()
        requests.finish_all()
    assert not requests.exceeded_limit
    assert len(requests.started) == len(requests.threads)


def test_a_burst_on_a_provider_that_allows_five_is_served_with_few_refusals() -> None:
    """Each refused request is made again; without learning, 140 of 180 would be refused."""
    requests = Requests(64)
    served, refused = 0, 0
    requests.start(40)
    while served < 40:
        requests.settle()
        in_flight = sorted(requests.in_flight)
        for number in in_flight[5:]:
            requests.finish(number, REFUSED)
        for number in in_flight[:5]:
            requests.finish(number)
        served += len(in_flight[:5])
        refused += len(in_flight[5:])
        requests.start(len(in_flight[5:]))
    assert refused <= 70


def test_many_threads_are_all_served() -> None:
    limiter = ConcurrencyLimiter(64, provider="a test")
    provider = threading.Semaphore(5)
    served: list[int] = []

    def ask(number: int) -> None:
        if not provider.acquire(blocking=False):
            raise REFUSED
        served.append(number)
        provider.release()

    def ask_until_served(number: int) -> None:
        while number not in served:
            with suppress(AgentBusy), limiter.slot():
                ask(number)

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(ask_until_served, range(400)))
    assert sorted(served) == list(range(400))
