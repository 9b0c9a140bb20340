"""Status callbacks are parsed, and combined in whatever order they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MalformedRequest
from whatsapp.status_callbacks import State, Status, parse_status

SID = "SM" + "1" * 32
FORM = {"MessageSid": SID, "MessageStatus": "sent"}
CALLBACKS = st.lists(st.sampled_from(State))


def add_up(states: list[State]) -> tuple[State | None, list[State]]:
    """The state that is known in the end, and all states that were new on the way."""
    known: State | None = None
    all_new = []
    for state in states:
        new = state.new_states_after(known)
        all_new += new
        known = new[-1] if new else known
    return known, all_new


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
def test_a_callback_is_parsed(
    query: dict[str, str], change: dict[str, str], expected: Status
) -> None:
    assert parse_status(query, FORM | change) == expected


@pytest.mark.parametrize(
    "change", [{"MessageSid": ""}, {"MessageSid": "../"}, {"MessageStatus": ""}]
)
def test_a_malformed_callback_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(MalformedRequest):
        parse_status({}, FORM | change)


def test_a_read_message_counts_as_delivered_too() -> None:
    assert State.READ.new_states_after(State.SENT) == [State.DELIVERED, State.READ]
    assert State.DELIVERED.new_states_after(State.READ) == []


def test_an_undelivered_message_stays_undelivered() -> None:
    assert State.UNDELIVERED.new_states_after(State.SENT) == [State.UNDELIVERED]
    for later in State:
        assert later.new_states_after(State.UNDELIVERED) == []


@given(CALLBACKS, st.randoms())
def test_order_and_repetition_change_nothing(states: list[State], chance: object) -> None:
    again = [*states, *states]
    chance.shuffle(again)  # type: ignore[attr-defined]
    known, new = add_up(states)
    shuffled, _ = add_up(again)
    assert len(new) == len(set(new))
    assert (known and known.is_failure) == (shuffled and shuffled.is_failure)
    if not (known and known.is_failure):
        assert (known, new) == add_up(again)
