"""When failed calls are repeated."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import tenacity.nap
from hypothesis import given
from hypothesis import strategies as st

from core.deadline import Deadline
from core.errors import (
    AgentBusy,
    AgentFailed,
    AgentLocked,
    AgentUnavailable,
    BridgeError,
    SendBusy,
    SpeechBusy,
)
from http_clients import retries
from http_clients.retries import EXTRA_DELAY, MAX_RETRY_AFTER, parse_retry_after, retrying


class Calls:
    """Raises each of ``errors`` in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made = 0

    def __call__(self, answer: str = "answer") -> str:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return answer


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which are skipped; without jitter."""
    waits: list[float] = []
    monkeypatch.setattr(retries, "random", SimpleNamespace(uniform=lambda low, high: low))
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=waits.append))
    return waits


def test_success_is_not_repeated(slept: list[float]) -> None:
    call = Calls()
    assert retrying((1.0, 2.0))(call, "hello") == "hello"
    assert (call.made, slept) == (1, [])


def test_a_call_is_made_at_once_then_after_each_delay(slept: list[float]) -> None:
    call = Calls(*(AgentUnavailable(str(number)) for number in range(3)))
    assert retrying((0.5, 1.0, 2.0))(call) == "answer"
    assert (call.made, slept) == (4, [0.5, 1.0, 2.0])


def test_the_last_error_is_raised(slept: list[float]) -> None:
    call = Calls(*(AgentUnavailable(str(number)) for number in range(9)))
    with pytest.raises(AgentUnavailable, match="2"):
        retrying((0.5, 1.0))(call)
    assert (call.made, slept) == (3, [0.5, 1.0])


def test_without_delays_there_is_one_try(slept: list[float]) -> None:
    call = Calls(AgentUnavailable())
    with pytest.raises(AgentUnavailable):
        retrying(())(call)
    assert (call.made, slept) == (1, [])


@pytest.mark.parametrize("error", [AgentFailed("acted"), ValueError("bug")])
def test_other_errors_are_not_repeated(slept: list[float], error: Exception) -> None:
    call = Calls(error)
    with pytest.raises(type(error)):
        retrying((0.5,))(call)
    assert (call.made, slept) == (1, [])


@pytest.mark.parametrize("error", [SpeechBusy, AgentBusy, AgentLocked])
def test_an_error_is_repeated_for_its_retry_seconds(
    slept: list[float], error: type[BridgeError]
) -> None:
    call = Calls(*(error() for _ in range(99)))
    with pytest.raises(error):
        retrying((0.5, 1.0))(call)
    assert slept[:4] == [0.5, 1.0, EXTRA_DELAY, EXTRA_DELAY]
    assert error.retry_seconds <= sum(slept) < error.retry_seconds + EXTRA_DELAY
    assert call.made == len(slept) + 1


def test_a_locked_session_is_tried_for_longer_than_agentforce_locks_it() -> None:
    """A question whose process died locks it for 120 s (docs/providers/agentforce.md, "Limits")."""
    assert AgentLocked.retry_seconds > 120


def test_an_error_without_retry_seconds_ends_the_extra_tries(slept: list[float]) -> None:
    call = Calls(AgentBusy(), AgentBusy(), AgentBusy(), AgentUnavailable())
    with pytest.raises(AgentUnavailable):
        retrying((0.5,))(call)
    assert slept == [0.5, EXTRA_DELAY, EXTRA_DELAY]


def test_delays_are_random_so_that_calls_do_not_come_back_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=waits.append))
    for _ in range(20):
        retrying((1.0,))(Calls(AgentUnavailable()))
    assert len(set(waits)) > 1
    assert all(1.0 <= wait <= 1.5 for wait in waits)


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [(None, 1.0), (0.0, 1.0), (0.5, 1.0), (3.0, 3.0), (3600.0, MAX_RETRY_AFTER)],
)
def test_retry_after_prolongs_a_wait_up_to_a_limit(
    slept: list[float], retry_after: float | None, waited: float
) -> None:
    retrying((1.0,))(Calls(SendBusy(retry_after=retry_after)))
    assert slept == [waited]


def test_all_waits_are_multiplied_by_the_factor(slept: list[float]) -> None:
    """Delays, ``retry_seconds``, and the limit of ``Retry-After``."""
    quick = retrying((0.5, 1.0), factor=0.1)
    with pytest.raises(AgentBusy):
        quick(Calls(*(AgentBusy() for _ in range(99))))
    assert slept[:3] == pytest.approx([0.05, 0.1, EXTRA_DELAY / 10])
    assert AgentBusy.retry_seconds / 10 <= sum(slept) < (AgentBusy.retry_seconds + EXTRA_DELAY) / 10
    slept.clear()
    quick(Calls(SendBusy(retry_after=3600.0)))
    assert slept == [MAX_RETRY_AFTER / 10]


@pytest.mark.parametrize(
    ("seconds", "delays", "cut_short"),
    [(None, (0.5,), False), (60.0, (0.5,), False), (0.0, (0.5,), True), (0.0, (), False)],
    ids=["no deadline", "enough time", "no time", "no more tries"],
)
def test_cut_short_says_that_the_deadline_prevented_more_tries(
    slept: list[float], seconds: float | None, delays: tuple[float, ...], cut_short: bool
) -> None:
    call = Calls(*(AgentUnavailable() for _ in range(9)))
    with ExitStack() as bound, pytest.raises(AgentUnavailable) as caught:
        if seconds is not None:
            bound.enter_context(Deadline(seconds).applied())
        retrying(delays)(call)
    assert caught.value.cut_short is cut_short


def test_a_caller_can_be_used_again(slept: list[float]) -> None:
    caller = retrying((1.0,))
    for _ in range(2):
        assert caller(Calls(AgentUnavailable())) == "answer"
    assert slept == [1.0, 1.0]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        (" 2 ", 2.0),
        ("-5", 0.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("nan", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after_headers(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header) == seconds


@given(st.one_of(st.text(), st.floats().map(str)))
def test_any_retry_after_header_gives_seconds_or_none(header: str) -> None:
    seconds = parse_retry_after(header)
    assert seconds is None or seconds >= 0
