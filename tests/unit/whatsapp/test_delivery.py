"""Each part of an answer is sent once, over restarts, and whatever Twilio leaves unsaid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import SendRefused, SendUncertain
from sandbox.faults import Fault
from sandbox.twilio.messages import resource
from storage.database import Database
from storage.engine import open_sqlite
from storage.outbound_messages import VOICE, OutboundMessages
from tests.unit.conftest import PUBLIC_URL
from tests.unit.delivery_process import USER, DeliveryProcess
from text.splitting import MESSAGE_LIMIT
from whatsapp.client import LISTING_LIMIT

PARTS = ["a" * MESSAGE_LIMIT, "b" * MESSAGE_LIMIT, "c"]
LONG = "\n\n".join(PARTS)
# Another number of the same Twilio account.
OTHER_NUMBER = "whatsapp:+14155238887"


class Killed(BaseException):
    """Ends a process in the middle of a call."""


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_sqlite(str(tmp_path))


def test_a_long_text_is_sent_and_recorded_in_parts(process: DeliveryProcess) -> None:
    process.delivery.send_text(process.turn, LONG)
    assert process.sent_texts() == PARTS
    recorded = [process.find(f"text {number}").sid for number in (1, 2, 3)]
    assert recorded == [message.sid for message in process.twilio.messages()]
    assert process.counter("texts_sent") == 3


def test_a_restarted_process_does_not_repeat_what_was_sent(process: DeliveryProcess) -> None:
    for _ in range(3):
        process.restart()
        process.delivery.send_text(process.turn, LONG)
        process.delivery.send_line(process.turn, "notice", "One moment")
    assert process.sent_texts() == [*PARTS, "One moment"]
    assert process.counter("texts_sent") == 3
    assert process.twilio.recorder.calls("twilio", "list") == []


def test_a_restarted_process_sends_the_missing_parts(process: DeliveryProcess) -> None:
    process.faults.add(Fault("twilio", "send", status=400, after=1))
    with pytest.raises(SendRefused):
        process.delivery.send_text(process.turn, LONG)
    assert process.sent_texts() == PARTS[:1]
    process.restart()
    process.delivery.send_text(process.turn, LONG)
    assert process.sent_texts() == PARTS
    assert process.counter("texts_sent") == 3


def test_a_part_is_recorded_before_it_is_sent(
    process: DeliveryProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> str:
        raise Killed

    monkeypatch.setattr(process.whatsapp, "send_text", die)
    monkeypatch.setattr(process.whatsapp, "send_voice", die)
    with pytest.raises(Killed):
        process.delivery.send_text(process.turn, "Hello")
    process.restart()
    with pytest.raises(Killed):
        process.delivery.send_voice(process.turn, b"note")
    for part in ("text 1", VOICE):
        assert process.find(part).sid is None


@pytest.mark.parametrize("taken", [True, False])
def test_a_text_that_may_have_been_sent_is_looked_up_in_twilios_list(
    process: DeliveryProcess, taken: bool
) -> None:
    """The process died after it recorded the part and before Twilio answered."""
    process.outbound_messages.begin(process.turn, "text 1")
    if taken:
        process.whatsapp.send_text(process.turn.message.sender, "Hello", callback="")
    process.delivery.send_text(process.turn, "Hello")
    assert process.sent_texts() == ["Hello"]
    assert process.find("text 1").sid == process.twilio.messages()[0].sid


@pytest.mark.parametrize(
    "fault",
    [
        Fault("twilio", "send", "vanish"),
        Fault("twilio", "send", "cut"),
        Fault("twilio", "send", "reset"),
        Fault("twilio", "send", "status", status=503),
    ],
    ids=lambda fault: fault.kind,
)
def test_a_text_is_neither_lost_nor_repeated_where_twilios_answer_is_lost(
    process: DeliveryProcess, fault: Fault
) -> None:
    process.faults.add(fault)
    process.delivery.send_text(process.turn, "Hello")
    assert process.sent_texts() == ["Hello"]
    assert process.find("text 1").sid == process.twilio.messages()[0].sid


def test_the_same_text_of_an_earlier_turn_does_not_count_as_sent(process: DeliveryProcess) -> None:
    """Two questions within a second may each need the same apology."""
    process.delivery.send_text(process.new_turn(), "Sorry")
    second, third = process.new_turn(), process.new_turn()
    process.faults.add(Fault("twilio", "send", status=500))
    process.delivery.send_text(second, "Sorry")
    assert process.sent_texts() == ["Sorry"] * 2
    process.outbound_messages.begin(third, "text 1")
    process.delivery.send_text(third, "Sorry")
    assert process.sent_texts() == ["Sorry"] * 3


def test_a_callback_proves_that_a_text_was_sent(
    process: DeliveryProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twilio's answer is lost, and its list does not show the message yet."""

    def called_back(*_: object, **__: object) -> None:
        process.outbound_messages.finish(process.turn, "text 1", process.twilio.messages()[0].sid)

    monkeypatch.setattr(process.whatsapp, "find_text", called_back)
    process.faults.add(Fault("twilio", "send", "vanish"))
    process.delivery.send_text(process.turn, "Hello")
    assert process.sent_texts() == ["Hello"]


def test_every_part_has_a_callback_address_of_its_own(process: DeliveryProcess) -> None:
    process.delivery.send_text(process.turn, LONG)
    process.delivery.send_voice(process.turn, b"note")
    recorded = [process.find(part) for part in ("text 1", "text 2", "text 3", VOICE)]
    assert [message.callback for message in process.twilio.messages()] == [
        f"{PUBLIC_URL}/status?sending={sending.callback}" for sending in recorded
    ]


def test_a_text_that_twilio_never_confirms_is_an_error_and_sent_by_the_next_attempt(
    process: DeliveryProcess,
) -> None:
    process.faults.add(Fault("twilio", "send", status=500, times=2))
    with pytest.raises(SendUncertain):
        process.delivery.send_text(process.turn, "Hello")
    assert process.find("text 1").sid is None
    process.delivery.send_text(process.turn, "Hello")
    assert process.sent_texts() == ["Hello"]


@pytest.mark.parametrize("status", [400, 401])
def test_a_list_that_twilio_refuses_does_not_let_the_text_be_repeated(
    process: DeliveryProcess, status: int
) -> None:
    """The refusal is about the list: the text may have been sent before."""
    process.faults.add(Fault("twilio", "send", "vanish"))
    process.faults.add(Fault("twilio", "list", status=status))
    with pytest.raises(SendUncertain):
        process.delivery.send_text(process.turn, "Hello")
    process.delivery.send_text(process.turn, "Hello")
    assert process.sent_texts() == ["Hello"]


def test_a_text_is_not_repeated_where_its_sid_could_not_be_stored(
    process: DeliveryProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk")

    with monkeypatch.context() as broken:
        broken.setattr(OutboundMessages, "finish", fail)
        with pytest.raises(OSError, match="disk"):
            process.delivery.send_text(process.turn, "Hello")
    process.restart()
    process.delivery.send_text(process.turn, "Hello")
    assert process.sent_texts() == ["Hello"]


def test_a_text_that_an_attempt_began_to_send_may_have_been_sent(process: DeliveryProcess) -> None:
    """Its process may have died before Twilio's answer came, so no apology may follow."""
    assert not process.delivery.may_have_sent_text(process.turn)
    process.outbound_messages.begin(process.turn, "text 1")
    process.restart()
    assert process.delivery.may_have_sent_text(process.turn)


def test_a_restarted_process_knows_that_the_voice_note_was_sent(process: DeliveryProcess) -> None:
    process.restart()
    assert not process.delivery.voice_sent(process.turn)
    process.delivery.send_voice(process.turn, b"note")
    process.restart()
    assert process.delivery.voice_sent(process.turn)
    (message,) = process.twilio.messages()
    assert message.media_url
    address, _, file = message.media_url.rpartition("/")
    assert address == f"{PUBLIC_URL}/media"
    assert process.outbound_messages.voice_note(file.removesuffix(".ogg")) == b"note"
    assert process.twilio.recorder.calls("twilio", "list") == []


@pytest.mark.parametrize("taken", [True, False])
def test_a_voice_note_that_may_have_been_sent_is_looked_up_in_twilios_list(
    process: DeliveryProcess, taken: bool
) -> None:
    """The text before it is not taken for the voice note."""
    process.delivery.send_text(process.turn, "Hello")
    process.outbound_messages.begin(process.turn, VOICE)
    to = process.turn.message.sender
    sid = process.whatsapp.send_voice(to, "note.ogg", callback="") if taken else None
    assert process.delivery.voice_sent(process.turn) is taken
    assert process.find(VOICE).sid == sid


def test_the_voice_note_of_an_earlier_turn_does_not_count_as_sent(process: DeliveryProcess) -> None:
    first, second = process.new_turn(), process.new_turn()
    process.delivery.send_voice(first, b"first")
    process.outbound_messages.begin(second, VOICE)
    assert not process.delivery.voice_sent(second)
    process.delivery.send_voice(second, b"second")
    assert process.delivery.voice_sent(second)


def test_messages_from_another_number_of_the_account_do_not_count_as_sent(
    process: DeliveryProcess,
) -> None:
    """A campaign may have sent the same text, or a recording, to the same user."""
    process.twilio.send_as(OTHER_NUMBER, USER, "Hello")
    process.twilio.send_as(OTHER_NUMBER, USER, media_url=f"{PUBLIC_URL}/note.ogg")
    process.faults.add(Fault("twilio", "send", "reset"))
    process.delivery.send_text(process.turn, "Hello")
    ours = [message.sender for message in process.twilio.messages() if message.body == "Hello"]
    assert ours == [OTHER_NUMBER, process.twilio.sender]
    process.outbound_messages.begin(process.turn, VOICE)
    assert not process.delivery.voice_sent(process.turn)


def test_many_messages_from_another_number_do_not_hide_ours(process: DeliveryProcess) -> None:
    """Only the newest messages of Twilio's list are read."""
    process.whatsapp.send_text(USER, "Hello", callback="")
    for number in range(LISTING_LIMIT):
        process.twilio.send_as(OTHER_NUMBER, USER, f"Offer {number}")
    process.faults.add(Fault("twilio", "send", "reset"))
    process.delivery.send_text(process.turn, "Hello")
    assert process.sent_texts().count("Hello") == 1


def test_a_reply_by_twiml_does_not_count_as_sent(
    process: DeliveryProcess,
) -> None:
    process.twilio.answer_by_twiml(USER, "Hello")
    process.faults.add(Fault("twilio", "send", "reset"))
    process.delivery.send_text(process.turn, "Hello")
    assert process.sent_texts() == ["Hello"] * 2


@pytest.mark.parametrize(
    ("sender", "ours"),
    [
        ("whatsapp:+14155238886", True),
        ("+14155238886", True),
        ("whatsapp:+14155238887", False),
        ("+14155238887", False),
        (None, False),
    ],
)
def test_a_listed_message_is_ours_if_its_sender_has_our_number(
    process: DeliveryProcess, sender: str | None, ours: bool
) -> None:
    """Twilio may list the sender with or without the channel."""
    message = process.twilio.send_as(process.twilio.sender, USER, "Hello")
    shown = resource(message, process.twilio.account_sid) | {"from": sender}
    listed = {"messages": [shown], "page": 0, "page_size": 1, "next_page_uri": None}
    process.faults.add(Fault("twilio", "list", status=200, body=json.dumps(listed)))
    assert process.whatsapp.find_text(USER, "Hello", since=0.0) == (message.sid if ours else None)
