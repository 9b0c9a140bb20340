"""The deadline of a turn shortens whatever the turn waits for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tenacity.nap

from core import deadline
from core.deadline import Deadline, clamp, remaining_time
from core.errors import AgentBusy, AgentUnavailable, DeadlineExceeded
from core.logs import ContextPool
from http_clients import retries
from http_clients.concurrency import ConcurrencyLimiter
from http_clients.retries import retrying


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of deadlines, which the sleeps of retries advance."""
    clock = Clock()
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=clock.sleep))
    monkeypatch.setattr(retries, "random", SimpleNamespace(uniform=lambda low, high: low))
    return clock


def test_without_a_deadline_nothing_is_shortened() -> None:
    assert remaining_time() is None
    assert clamp(125.0) == 125.0


def test_a_timeout_is_shortened_to_the_remaining_time(clock: Clock) -> None:
    with Deadline(10.0).applied():
        assert (remaining_time(), clamp(3.0), clamp(125.0)) == (10.0, 3.0, 10.0)
        clock.now += 9.0
        assert (remaining_time(), clamp(3.0)) == (1.0, 1.0)
        clock.now += 9.0
        assert remaining_time() == 0.0
        with pytest.raises(DeadlineExceeded):
            clamp(3.0)
    assert remaining_time() is None


def test_threads_of_a_turn_inherit_its_deadline(clock: Clock) -> None:
    with ContextPool(1) as pool:
        with Deadline(10.0).applied():
            inside = pool.submit(remaining_time)
        outside = pool.submit(remaining_time)
    assert (inside.result(), outside.result()) == (10.0, None)


def test_retries_end_before_the_deadline(clock: Clock) -> None:
    tries: list[float] = []

    def fail() -> None:
        tries.append(clock.now)
        raise AgentUnavailable

    with Deadline(3.0).applied(), pytest.raises(AgentUnavailable):
        retrying((0.5, 1.0, 2.0, 4.0))(fail)
    assert tries == [100.0, 100.5, 101.5]


def test_extra_tries_end_before_the_deadline(clock: Clock) -> None:
    def refuse() -> None:
        raise AgentBusy

    with Deadline(20.0).applied(), pytest.raises(AgentBusy):
        retrying((0.5,))(refuse)
    assert 110.0 < clock.now < 120.0


def test_waiting_for_a_slot_ends_at_the_deadline() -> None:
    """The slot then goes to the next waiter."""
    limiter = ConcurrencyLimiter(1, provider="a test")
    with limiter.slot():
        with Deadline(0.02).applied(), pytest.raises(DeadlineExceeded), limiter.slot():
            pass
        assert limiter.available_slots == 0
    with limiter.slot():
        pass
    assert limiter.available_slots == 1
