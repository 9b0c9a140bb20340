"""Status callbacks: how they are read, and how they add up in any order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MalformedRequest
from whatsapp.status_callbacks import MAX_DETAIL_CHARACTERS, State, Status, parse_status

SID = "SM" + "1" * 32
FORM = {"MessageSid": SID, "MessageStatus": "sent"}
CALLBACKS = st.lists(st.sampled_from(State))


def add_up(states: list[State]) -> tuple[State | None, list[State]]:
    """The last known state, and all states that were new on the way."""
    known: State | None = None
    reported = []
    for state in states:
        new_states = state.new_states_after(known)
        reported += new_states
        known = new_states[-1] if new_states else known
    return known, reported


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


def detail(text: str) -> str:
    return parse_status({}, FORM | {"ChannelStatusMessage": text}).detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rate limit hit (#131056)", "Rate limit hit (#131056)"),
        (" Something\r\nwent\x1b[2J wrong\u202e ", "Something went [2J wrong"),
        ("x" * 5000, "x" * MAX_DETAIL_CHARACTERS + "…"),
        ("Can't send, see error 63016 at 12:30", "Can't send, see error 63016 at 12:30"),
    ],
)
def test_the_text_of_the_channel_is_one_short_line(text: str, expected: str) -> None:
    assert detail(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Recipient +14155550100 is unknown",
        "Recipient 1 (415) 555-0100 is unknown",
        "Recipient +1415555XXXX is unknown",
        "Recipient 1_4_1_5_5_5_5 is unknown",
        "Recipient ١٤١٥٥٥٥٠١٠٠ is unknown",
        "whatsapp:US.13491208655302741918",
        "User CO.abcDEF is unknown",
        "User CO.ENT.abc is unknown",
        "Write to ana@example.com",
        "See https://cdn.example.com/?Signature=abc",
        'The text "my secret" is refused',
        "The text “my secret” is refused",
        "x" * 5000 + "+14155550100",
    ],
)
def test_the_text_of_the_channel_is_left_out_if_it_may_hold_personal_data(text: str) -> None:
    assert detail(text) == ""


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
    known, reported = add_up(states)
    shuffled, _ = add_up(again)
    assert len(reported) == len(set(reported))
    assert (known and known.is_failure) == (shuffled and shuffled.is_failure)
    if not (known and known.is_failure):
        assert (known, reported) == add_up(again)
