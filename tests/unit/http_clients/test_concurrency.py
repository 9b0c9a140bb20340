"""A gate that lets so many through at once, in the order they came, and learns from refusals."""

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

PATIENCE = 10.0

End = Exception | None
REFUSED = AgentBusy()


class Visitors:
    """Threads that enter a limiter one after the other and stay until they are let go."""

    def __init__(self, ceiling: int) -> None:
        self.limiter = ConcurrencyLimiter(ceiling, provider="a test")
        self.changed = threading.Condition()
        self.inside: list[int] = []
        self.entered: list[int] = []
        self.left: list[int] = []
        self.overfull = False
        self.ends: dict[int, End] = {}
        self.threads: list[threading.Thread] = []

    def come(self, count: int = 1) -> None:
        for _ in range(count):
            number = len(self.threads)
            thread = threading.Thread(target=self._visit, args=(number,), daemon=True)
            self.threads.append(thread)
            thread.start()
            # The next may come once this one is inside or in the queue.
            while not self._arrived(number + 1):
                thread.join(0.001)

    def let_go(self, number: int, end: End = None) -> None:
        """The call of ``number``, who is inside, succeeds or raises."""
        with self.changed:
            self.ends[number] = end
            self.changed.notify_all()
        self.wait_until(lambda: number in self.left)

    def let_all_go(self, end: End = None) -> None:
        """All who are inside now."""
        for number in list(self.inside):
            self.let_go(number, end)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(holds, PATIENCE)

    def settle(self) -> None:
        """Until everybody for whom there is a place is inside."""
        present = len(self.threads) - len(self.left)
        self.wait_until(lambda: len(self.inside) >= min(present, self.limiter.size))

    def _arrived(self, count: int) -> bool:
        return len(self.entered) + len(self.limiter._queue) >= count

    def _visit(self, number: int) -> None:
        try:
            with self.limiter.slot():
                self._stay(number)
        except (AgentBusy, AgentLocked, ValueError):
            pass
        with self.changed:
            self.left.append(number)
            self.changed.notify_all()

    def _stay(self, number: int) -> None:
        with self.changed:
            self.inside.append(number)
            self.entered.append(number)
            self.overfull |= len(self.inside) > self.limiter.size
            self.changed.notify_all()
            self.changed.wait_for(lambda: number in self.ends)
            self.inside.remove(number)
        end = self.ends[number]
        if end is not None:
            raise end


def test_no_more_than_the_ceiling_are_inside() -> None:
    visitors = Visitors(2)
    visitors.come(5)
    visitors.settle()
    assert visitors.inside == [0, 1]


def test_who_came_first_enters_first() -> None:
    visitors = Visitors(1)
    visitors.come(4)
    for number in range(4):
        visitors.settle()
        visitors.let_go(number)
    assert visitors.entered == [0, 1, 2, 3]


def test_a_wider_gate_lets_those_who_wait_in() -> None:
    visitors = Visitors(1)
    visitors.come(4)
    visitors.limiter.set_ceiling(3)
    visitors.settle()
    assert sorted(visitors.inside) == [0, 1, 2]


def test_a_narrower_gate_waits_until_enough_have_left() -> None:
    visitors = Visitors(3)
    visitors.come(5)
    visitors.settle()
    visitors.limiter.set_ceiling(0)
    visitors.let_go(0)
    visitors.let_go(1)
    assert visitors.inside == [2]
    visitors.let_go(2)
    visitors.settle()
    assert visitors.inside == [3]


@pytest.mark.parametrize(
    ("ceiling", "processes", "size"), [(10, 1, 10), (10, 3, 3), (2, 5, 1), (10, 0, 10)]
)
def test_processes_share_a_ceiling(ceiling: int, processes: int, size: int) -> None:
    limiter = ConcurrencyLimiter(ceiling, provider="a test")
    limiter.set_share(processes)
    assert limiter.size == size


def test_a_share_outlives_what_the_plan_says() -> None:
    limiter = ConcurrencyLimiter(10, provider="a test")
    limiter.set_share(2)
    limiter.set_ceiling(8)
    assert limiter.size == 4


def test_those_refused_together_halve_the_gate_once() -> None:
    visitors = Visitors(8)
    visitors.come(16)
    visitors.settle()
    for number in range(8):
        visitors.let_go(number, REFUSED)
    assert visitors.limiter.size == 4


def test_a_refusal_after_that_halves_it_again_down_to_one() -> None:
    visitors = Visitors(8)
    visitors.come(24)
    sizes = []
    for _ in range(5):
        visitors.settle()
        visitors.let_all_go(REFUSED)
        sizes.append(visitors.limiter.size)
    assert sizes == [4, 2, 1, 1, 1]


def test_who_waited_since_before_a_cut_counts_as_let_in_after_it() -> None:
    """Such a call is made after the cut, so its refusal is news."""
    visitors = Visitors(2)
    visitors.come(3)
    visitors.settle()
    visitors.let_go(0, REFUSED)
    visitors.limiter.set_ceiling(2)
    visitors.let_go(1)
    visitors.settle()
    size = visitors.limiter.size
    visitors.let_go(2, REFUSED)
    assert (size, visitors.limiter.size) == (2, 1)


def test_a_wide_gate_that_few_use_learns_from_those_few() -> None:
    visitors = Visitors(128)
    visitors.come(6)
    visitors.settle()
    visitors.let_all_go(REFUSED)
    assert visitors.limiter.size == 3


def test_successes_widen_it_by_one_a_window_up_to_the_ceiling() -> None:
    visitors = Visitors(4)
    visitors.come(1)
    visitors.settle()
    visitors.let_go(0, REFUSED)
    sizes = []
    for number in range(1, 12):
        visitors.come()
        visitors.settle()
        visitors.let_go(number)
        sizes.append(visitors.limiter.size)
    assert sizes == [2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4]


@pytest.mark.parametrize("end", [AgentLocked(), ValueError()])
def test_other_errors_free_the_place_and_change_nothing(end: Exception) -> None:
    visitors = Visitors(4)
    visitors.come(20)
    for number in range(20):
        visitors.settle()
        visitors.let_go(number, end)
    assert visitors.limiter.size == 4


def test_only_refusals_for_want_of_room_are_limits() -> None:
    assert all(error.rate_limited for error in (SpeechBusy, AgentBusy, SendBusy))
    assert not any(error.rate_limited for error in (AgentLocked, SendUnreachable))


STEPS = st.one_of(
    st.tuples(st.just("come"), st.integers(1, 4)),
    st.tuples(st.sampled_from(["served", "refused", "failed"]), st.integers(0, 20)),
    st.tuples(st.sampled_from(["resize", "share"]), st.integers(0, 8)),
)
ENDS: dict[str, End] = {"served": None, "refused": REFUSED, "failed": ValueError()}


@settings(max_examples=60)
@given(ceiling=st.integers(1, 8), steps=st.lists(STEPS, max_size=30))
def test_whatever_happens_the_gate_holds_and_moves(
    ceiling: int, steps: list[tuple[str, int]]
) -> None:
    """Nobody enters a full gate or out of turn, it stays within its ceiling, and all get in."""
    visitors = Visitors(ceiling)
    for step, number in steps:
        inside = visitors.inside
        if step == "come":
            visitors.come(number)
        elif step in ENDS and inside:
            visitors.let_go(sorted(inside)[number % len(inside)], ENDS[step])
        elif step == "resize":
            visitors.limiter.set_ceiling(number)
            ceiling = max(number, 1)
        elif step == "share":
            visitors.limiter.set_share(number)
        visitors.settle()
        assert 1 <= visitors.limiter.size <= ceiling
        assert set(visitors.entered) == set(range(len(visitors.entered)))
    while len(visitors.left) < len(visitors.threads):
        visitors.settle()
        visitors.let_all_go()
    assert not visitors.overfull
    assert len(visitors.entered) == len(visitors.threads)


def test_a_burst_on_a_cloud_that_takes_five_is_served_with_few_refusals() -> None:
    """Who is refused comes again; without a gate that learns, 140 of 180 calls are refused."""
    visitors = Visitors(64)
    served, refused = 0, 0
    visitors.come(40)
    while served < 40:
        visitors.settle()
        inside = sorted(visitors.inside)
        for number in inside[5:]:
            visitors.let_go(number, REFUSED)
        for number in inside[:5]:
            visitors.let_go(number)
        served += len(inside[:5])
        refused += len(inside[5:])
        visitors.come(len(inside[5:]))
    assert refused <= 70


def test_many_threads_all_pass() -> None:
    limiter = ConcurrencyLimiter(64, provider="a test")
    inside = threading.Semaphore(5)
    served: list[int] = []

    def ask(number: int) -> None:
        if not inside.acquire(blocking=False):
            raise REFUSED
        served.append(number)
        inside.release()

    def ask_until_served(number: int) -> None:
        while number not in served:
            with suppress(AgentBusy), limiter.slot():
                ask(number)

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(ask_until_served, range(400)))
    assert sorted(served) == list(range(400))
