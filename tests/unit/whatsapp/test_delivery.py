"""Each part of an answer is sent once, over restarts and if answers of Twilio are lost."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import SendRefused, SendUncertain
from core.models import Inbound, Kind, Turn
from metrics import Metrics
from sandbox.faults import Fault, Faults
from sandbox.twilio.messages import resource
from sandbox.twilio.standin import TwilioStandIn
from storage.engine import open_sqlite
from storage.outbound_messages import VOICE, OutboundMessages
from storage.turns import TurnTable
from tests.unit.conftest import PUBLIC_URL, USER, Unclaimed
from text.splitting import MESSAGE_LIMIT
from whatsapp.client import LISTING_LIMIT, WhatsApp
from whatsapp.delivery import Delivery

PARTS = ["a" * MESSAGE_LIMIT, "b" * MESSAGE_LIMIT, "c"]
LONG = "\n\n".join(PARTS)


class Died(BaseException):
    """The process is killed."""


@dataclass(frozen=True)
class Process:
    """The parts of one process."""

    store: TurnTable
    outbound_messages: OutboundMessages
    delivery: Delivery


@pytest.fixture
def restart(tmp_path: Path, whatsapp: WhatsApp, metrics: Metrics) -> Callable[[], Process]:
    """Starts the next process on the same database."""

    def start() -> Process:
        database = open_sqlite(str(tmp_path))
        outbound_messages = OutboundMessages(database=database, note_lifetime=60)
        delivery = Delivery(
            claims=Unclaimed(),
            whatsapp=whatsapp,
            outbound_messages=outbound_messages,
            metrics=metrics,
        )
        return Process(TurnTable(database=database), outbound_messages, delivery)

    return start


@pytest.fixture
def process(restart: Callable[[], Process]) -> Process:
    return restart()


@pytest.fixture
def store(process: Process) -> TurnTable:
    return process.store


@pytest.fixture
def outbound_messages(process: Process) -> OutboundMessages:
    return process.outbound_messages


@pytest.fixture
def delivery(process: Process) -> Delivery:
    return process.delivery


@pytest.fixture
def new_turn(store: TurnTable) -> Callable[[], Turn]:
    """Another message of the same user."""
    numbers = itertools.count()

    def make() -> Turn:
        turn = store.insert(Inbound(sid=f"SM{next(numbers)}", sender=USER, kind=Kind.TEXT))
        assert turn
        return turn

    return make


@pytest.fixture
def turn(new_turn: Callable[[], Turn]) -> Turn:
    return new_turn()


def texts(twilio: TwilioStandIn) -> list[str]:
    return [message.body for message in twilio.messages() if not message.media_url]


def counted(metrics: Metrics, counter: str) -> int:
    counters = metrics.snapshot().report(metrics.uptime())["counters"]
    assert isinstance(counters, dict)
    number = counters[counter]
    assert isinstance(number, int)
    return number


def test_a_long_text_is_sent_in_parts_that_are_stored(
    delivery: Delivery,
    turn: Turn,
    outbound_messages: OutboundMessages,
    twilio: TwilioStandIn,
    metrics: Metrics,
) -> None:
    delivery.send_text(turn, LONG)
    assert texts(twilio) == PARTS
    stored = [outbound_messages.find(turn, f"text {number}") for number in (1, 2, 3)]
    assert [sending and sending.sid for sending in stored] == [m.sid for m in twilio.messages()]
    assert counted(metrics, "texts_sent") == 3


def test_what_was_sent_is_not_sent_again(
    restart: Callable[[], Process],
    turn: Turn,
    twilio: TwilioStandIn,
    metrics: Metrics,
) -> None:
    for _ in range(3):
        delivery = restart().delivery
        delivery.send_text(turn, LONG)
        delivery.send_line(turn, "notice", "One moment")
    assert texts(twilio) == [*PARTS, "One moment"]
    assert counted(metrics, "texts_sent") == 3
    assert twilio.recorder.calls("twilio", "list") == []


def test_a_restart_continues_with_the_missing_part(
    restart: Callable[[], Process],
    turn: Turn,
    twilio: TwilioStandIn,
    faults: Faults,
    metrics: Metrics,
) -> None:
    faults.add(Fault("twilio", "send", status=400, after=1))
    with pytest.raises(SendRefused):
        restart().delivery.send_text(turn, LONG)
    assert texts(twilio) == PARTS[:1]
    restart().delivery.send_text(turn, LONG)
    assert texts(twilio) == PARTS
    assert counted(metrics, "texts_sent") == 3


def test_a_part_is_stored_before_it_is_sent(
    restart: Callable[[], Process],
    turn: Turn,
    outbound_messages: OutboundMessages,
    whatsapp: WhatsApp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(*_: object, **__: object) -> str:
        raise Died

    monkeypatch.setattr(whatsapp, "send_text", die)
    monkeypatch.setattr(whatsapp, "send_voice", die)
    with pytest.raises(Died):
        restart().delivery.send_text(turn, "Hello")
    with pytest.raises(Died):
        restart().delivery.send_voice(turn, b"note")
    for part in ("text 1", VOICE):
        sending = outbound_messages.find(turn, part)
        assert sending
        assert sending.sid is None


@pytest.mark.parametrize("was_sent", [True, False])
def test_a_text_that_may_have_been_sent_is_looked_up(
    delivery: Delivery,
    turn: Turn,
    outbound_messages: OutboundMessages,
    whatsapp: WhatsApp,
    twilio: TwilioStandIn,
    was_sent: bool,
) -> None:
    """The process died after it had stored the part and before Twilio answered."""
    outbound_messages.begin(turn, "text 1")
    if was_sent:
        whatsapp.send_text(turn.message.sender, "Hello", callback="")
    delivery.send_text(turn, "Hello")
    assert texts(twilio) == ["Hello"]
    sending = outbound_messages.find(turn, "text 1")
    assert sending
    assert sending.sid == twilio.messages()[0].sid


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
def test_a_text_is_sent_once_if_twilios_answer_is_lost(
    delivery: Delivery,
    turn: Turn,
    outbound_messages: OutboundMessages,
    twilio: TwilioStandIn,
    faults: Faults,
    fault: Fault,
) -> None:
    faults.add(fault)
    delivery.send_text(turn, "Hello")
    assert texts(twilio) == ["Hello"]
    sending = outbound_messages.find(turn, "text 1")
    assert sending
    assert sending.sid == twilio.messages()[0].sid


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_turn_is_answered_and_looked_up_at_the_address_of_its_message(
    delivery: Delivery, store: TurnTable, twilio: TwilioStandIn, faults: Faults, is_lost: bool
) -> None:
    """The user id says who wrote it, and not where to answer."""
    received = Inbound(sid="SM1", sender="whatsapp:US.1", kind=Kind.TEXT, address=USER)
    turn = store.insert(received)
    assert turn
    if is_lost:
        faults.add(Fault("twilio", "send", "vanish"))
    delivery.send_text(turn, "Hello")
    delivery.send_voice(turn, b"note")
    assert [message.to for message in twilio.messages()] == [USER, USER]


def test_the_same_text_of_an_earlier_turn_is_not_mistaken_for_it(
    delivery: Delivery,
    new_turn: Callable[[], Turn],
    outbound_messages: OutboundMessages,
    twilio: TwilioStandIn,
    faults: Faults,
) -> None:
    """Two questions within one second may both be answered with the same apology."""
    delivery.send_text(new_turn(), "Sorry")
    second, third = new_turn(), new_turn()
    faults.add(Fault("twilio", "send", status=500))
    delivery.send_text(second, "Sorry")
    assert texts(twilio) == ["Sorry"] * 2
    outbound_messages.begin(third, "text 1")
    delivery.send_text(third, "Sorry")
    assert texts(twilio) == ["Sorry"] * 3


def test_a_status_callback_shows_that_a_text_was_sent(
    delivery: Delivery,
    turn: Turn,
    outbound_messages: OutboundMessages,
    whatsapp: WhatsApp,
    twilio: TwilioStandIn,
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twilio's answer is lost, and its list does not show the message yet."""

    def report(*_: object, **__: object) -> None:
        outbound_messages.finish(turn, "text 1", twilio.messages()[0].sid)

    monkeypatch.setattr(whatsapp, "find_text", report)
    faults.add(Fault("twilio", "send", "vanish"))
    delivery.send_text(turn, "Hello")
    assert texts(twilio) == ["Hello"]


def test_every_message_has_a_callback_address_of_its_own(
    delivery: Delivery, turn: Turn, outbound_messages: OutboundMessages, twilio: TwilioStandIn
) -> None:
    delivery.send_text(turn, LONG)
    delivery.send_voice(turn, b"note")
    stored = [outbound_messages.find(turn, part) for part in ("text 1", "text 2", "text 3", VOICE)]
    assert [message.callback for message in twilio.messages()] == [
        f"{PUBLIC_URL}/status?sending={sending and sending.callback}" for sending in stored
    ]


def test_a_text_that_twilio_does_not_answer_is_sent_by_the_next_attempt(
    delivery: Delivery,
    turn: Turn,
    outbound_messages: OutboundMessages,
    twilio: TwilioStandIn,
    faults: Faults,
) -> None:
    faults.add(Fault("twilio", "send", status=500, times=2))
    with pytest.raises(SendUncertain):
        delivery.send_text(turn, "Hello")
    sending = outbound_messages.find(turn, "text 1")
    assert sending
    assert sending.sid is None
    delivery.send_text(turn, "Hello")
    assert texts(twilio) == ["Hello"]


def test_a_text_is_not_sent_again_if_its_sid_could_not_be_stored(
    delivery: Delivery,
    turn: Turn,
    twilio: TwilioStandIn,
    restart: Callable[[], Process],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk")

    with monkeypatch.context() as broken:
        broken.setattr(OutboundMessages, "finish", fail)
        with pytest.raises(OSError, match="disk"):
            delivery.send_text(turn, "Hello")
    restart().delivery.send_text(turn, "Hello")
    assert texts(twilio) == ["Hello"]


def test_a_voice_note_that_was_sent_is_found_after_a_restart(
    restart: Callable[[], Process],
    turn: Turn,
    outbound_messages: OutboundMessages,
    twilio: TwilioStandIn,
) -> None:
    delivery = restart().delivery
    assert not delivery.voice_sent(turn)
    delivery.send_voice(turn, b"note")
    assert restart().delivery.voice_sent(turn)
    (message,) = twilio.messages()
    assert message.media_url
    address, _, file = message.media_url.rpartition("/")
    assert address == f"{PUBLIC_URL}/media"
    assert outbound_messages.voice_note(file.removesuffix(".ogg")) == b"note"
    assert twilio.recorder.calls("twilio", "list") == []


@pytest.mark.parametrize("was_sent", [True, False])
def test_a_voice_note_that_may_have_been_sent_is_looked_up(
    delivery: Delivery,
    turn: Turn,
    outbound_messages: OutboundMessages,
    whatsapp: WhatsApp,
    was_sent: bool,
) -> None:
    """The text that was sent before it is not mistaken for it."""
    delivery.send_text(turn, "Hello")
    outbound_messages.begin(turn, VOICE)
    to = turn.message.sender
    sid = whatsapp.send_voice(to, "note.ogg", callback="") if was_sent else None
    assert delivery.voice_sent(turn) is was_sent
    sending = outbound_messages.find(turn, VOICE)
    assert sending
    assert sending.sid == sid


def test_the_voice_note_of_an_earlier_turn_is_not_mistaken_for_it(
    delivery: Delivery, new_turn: Callable[[], Turn], outbound_messages: OutboundMessages
) -> None:
    first, second = new_turn(), new_turn()
    delivery.send_voice(first, b"first")
    outbound_messages.begin(second, VOICE)
    assert not delivery.voice_sent(second)
    delivery.send_voice(second, b"second")
    assert delivery.voice_sent(second)


OTHER = "whatsapp:+14155238887"


def test_a_message_of_another_sender_of_the_account_is_not_mistaken_for_ours(
    delivery: Delivery,
    turn: Turn,
    outbound_messages: OutboundMessages,
    twilio: TwilioStandIn,
    faults: Faults,
) -> None:
    """The other sender has sent the same text and a voice note to the same user."""
    twilio.send_as(OTHER, USER, "Hello")
    twilio.send_as(OTHER, USER, media_url=f"{PUBLIC_URL}/note.ogg")
    faults.add(Fault("twilio", "send", "reset"))
    delivery.send_text(turn, "Hello")
    ours = [message.sender for message in twilio.messages() if message.body == "Hello"]
    assert ours == [OTHER, twilio.sender]
    outbound_messages.begin(turn, VOICE)
    assert not delivery.voice_sent(turn)


def test_many_messages_of_another_sender_do_not_hide_ours(
    delivery: Delivery, turn: Turn, twilio: TwilioStandIn, faults: Faults, whatsapp: WhatsApp
) -> None:
    """Only the first messages of Twilio's list are read."""
    whatsapp.send_text(USER, "Hello", callback="")
    for number in range(LISTING_LIMIT):
        twilio.send_as(OTHER, USER, f"Offer {number}")
    faults.add(Fault("twilio", "send", "reset"))
    delivery.send_text(turn, "Hello")
    assert texts(twilio).count("Hello") == 1


def test_an_answer_by_twiml_is_not_mistaken_for_a_text_of_ours(
    delivery: Delivery, turn: Turn, twilio: TwilioStandIn, faults: Faults
) -> None:
    twilio.answer_by_twiml(USER, "Hello")
    faults.add(Fault("twilio", "send", "reset"))
    delivery.send_text(turn, "Hello")
    assert texts(twilio) == ["Hello"] * 2


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
def test_a_listed_message_is_ours_by_its_sender(
    whatsapp: WhatsApp, twilio: TwilioStandIn, faults: Faults, sender: str | None, ours: bool
) -> None:
    """Twilio may list the sender with or without the prefix of the channel."""
    message = twilio.send_as(twilio.sender, USER, "Hello")
    shown = resource(message, twilio.account_sid) | {"from": sender}
    listed = {"messages": [shown], "page": 0, "page_size": 1, "next_page_uri": None}
    faults.add(Fault("twilio", "list", status=200, body=json.dumps(listed)))
    assert whatsapp.find_text(USER, "Hello", since=0.0) == (message.sid if ours else None)
