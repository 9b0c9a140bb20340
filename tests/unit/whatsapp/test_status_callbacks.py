"""Status callbacks: read, and added up in whatever order they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MalformedRequest
from whatsapp.status_callbacks import State, Status, parse_status

SID = "SM" + "1" * 32
FORM = {"MessageSid": SID, "MessageStatus": "sent"}
CALLBACKS = st.lists(st.sampled_from(State))


def added_up(states: list[State]) -> tuple[State | None, list[State]]:
    """What is known in the end, and all that was news on the way."""
    known: State | None = None
    told = []
    for state in states:
        news = state.new_states_after(known)
        told += news
        known = news[-1] if news else known
    return known, told


@pytest.mark.parametrize(
    ("query", "change", "expected"),
    [
        ({"sending": "abc"}, {}, Status("abc", SID, State.SENT, None)),
        ({}, {"MessageStatus": "accepted"}, Status("", SID, State.QUEUED, None)),
        ({}, {"MessageStatus": "canceled"}, Status("", SID, None, None)),
        (
            {},
            {"MessageStatus": "undelivered", "ErrorCode": "63016"},
            Status("", SID, State.UNDELIVERED, 63016),
        ),
        ({}, {"ErrorCode": ""}, Status("", SID, State.SENT, None)),
        ({}, {"ErrorCode": "٣"}, Status("", SID, State.SENT, None)),
        ({}, {"ErrorCode": "9" * 7}, Status("", SID, State.SENT, None)),
    ],
)
def test_a_callback_is_read(
    query: dict[str, str], change: dict[str, str], expected: Status
) -> None:
    assert parse_status(query, FORM | change) == expected


@pytest.mark.parametrize(
    "change", [{"MessageSid": ""}, {"MessageSid": "../"}, {"MessageStatus": ""}]
)
def test_what_is_no_callback_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(MalformedRequest):
        parse_status({}, FORM | change)


def test_a_message_that_was_read_was_delivered_too() -> None:
    assert State.READ.new_states_after(State.SENT) == [State.DELIVERED, State.READ]
    assert State.DELIVERED.new_states_after(State.READ) == []


def test_what_is_lost_stays_lost() -> None:
    assert State.UNDELIVERED.new_states_after(State.SENT) == [State.UNDELIVERED]
    for later in State:
        assert later.new_states_after(State.UNDELIVERED) == []


@given(CALLBACKS, st.randoms())
def test_order_and_repetition_change_nothing(states: list[State], chance: object) -> None:
    again = [*states, *states]
    chance.shuffle(again)  # type: ignore[attr-defined]
    known, told = added_up(states)
    shuffled, _ = added_up(again)
    assert len(told) == len(set(told))
    assert (known and known.is_failure) == (shuffled and shuffled.is_failure)
    if not (known and known.is_failure):
        assert (known, told) == added_up(again)
