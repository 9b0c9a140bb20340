"""What a turn sends, once each; over restarts, and whatever Twilio leaves unsaid."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import whatsapp as whatsapp_module
from database import open_sqlite
from delivery import Delivery
from errors import SendRefused, SendUncertain
from inbound import Inbound, Kind
from metrics import Metrics
from sandbox import CREDENTIALS
from sandbox.faults import Fault, Faults
from sandbox.ledger import Ledger
from sandbox.pace import INSTANT
from sandbox.twilio.standin import TwilioStandIn
from segments import MESSAGE_LIMIT
from settings import load_settings
from store import VOICE, Store, Turn
from whatsapp import WhatsApp

# Nobody is there; Twilio finds that out only after it took the message.
PUBLIC_URL = "http://127.0.0.1:9"
PARTS = ["a" * MESSAGE_LIMIT, "b" * MESSAGE_LIMIT, "c"]
LONG = "\n\n".join(PARTS)


class Died(BaseException):
    """The process is killed."""


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def twilio(faults: Faults) -> Iterator[TwilioStandIn]:
    standin = TwilioStandIn(
        ledger=Ledger(),
        faults=faults,
        pace=INSTANT,
        account_sid=CREDENTIALS["TWILIO_ACCOUNT_SID"],
        auth_token=CREDENTIALS["TWILIO_AUTH_TOKEN"],
    )
    standin.start()
    yield standin
    standin.stop()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def whatsapp(twilio: TwilioStandIn, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> WhatsApp:
    monkeypatch.setattr(whatsapp_module, "LISTING_DELAY", 0.0)
    addresses = {
        "TWILIO_API_URL": twilio.url,
        "SALESFORCE_INSTANCE_URL": twilio.url,
        "PUBLIC_URL": PUBLIC_URL,
    }
    for name, value in (CREDENTIALS | addresses).items():
        monkeypatch.setenv(name, value)
    return WhatsApp(settings=load_settings(), metrics=metrics, width=4, typing_width=1)


@pytest.fixture
def restart(
    tmp_path: Path, whatsapp: WhatsApp, metrics: Metrics
) -> Callable[[], tuple[Store, Delivery]]:
    """Store and delivery as the next process has them."""

    def start() -> tuple[Store, Delivery]:
        store = Store(engine=open_sqlite(str(tmp_path)), note_lifetime=1)
        return store, Delivery(whatsapp=whatsapp, store=store, metrics=metrics)

    return start


@pytest.fixture
def store(restart: Callable[[], tuple[Store, Delivery]]) -> Store:
    return restart()[0]


@pytest.fixture
def delivery(restart: Callable[[], tuple[Store, Delivery]]) -> Delivery:
    """A process of its own; it shares the file with ``store``."""
    return restart()[1]


@pytest.fixture
def new_turn(store: Store, twilio: TwilioStandIn) -> Callable[[], Turn]:
    """Another message of the same user."""
    numbers = itertools.count()

    def make() -> Turn:
        user = "whatsapp:+14155550100"
        twilio.open_window(user)
        turn = store.admit(Inbound(sid=f"SM{next(numbers)}", sender=user, kind=Kind.TEXT))
        assert turn
        return turn

    return make


@pytest.fixture
def turn(new_turn: Callable[[], Turn]) -> Turn:
    return new_turn()


def texts(twilio: TwilioStandIn) -> list[str]:
    return [message.body for message in twilio.messages() if not message.media_url]


def counted(metrics: Metrics, counter: str) -> int:
    counters = metrics.figures().report(metrics.uptime())["counters"]
    assert isinstance(counters, dict)
    number = counters[counter]
    assert isinstance(number, int)
    return number


def test_a_long_text_goes_out_in_parts_that_are_noted(
    delivery: Delivery, turn: Turn, store: Store, twilio: TwilioStandIn, metrics: Metrics
) -> None:
    delivery.send_text(turn, LONG)
    assert texts(twilio) == PARTS
    noted = [store.sending(turn, f"text {number}") for number in (1, 2, 3)]
    assert [sending and sending.sid for sending in noted] == [m.sid for m in twilio.messages()]
    assert counted(metrics, "texts_sent") == 3


def test_markdown_is_sent_as_whatsapp_shows_it(
    delivery: Delivery, turn: Turn, twilio: TwilioStandIn
) -> None:
    delivery.send_text(turn, "**Hello**")
    assert texts(twilio) == ["*Hello*"]


def test_what_was_sent_is_not_sent_again(
    restart: Callable[[], tuple[Store, Delivery]],
    turn: Turn,
    twilio: TwilioStandIn,
    metrics: Metrics,
) -> None:
    for _ in range(3):
        _, delivery = restart()
        delivery.send_text(turn, LONG)
        delivery.send_line(turn, "notice", "One moment")
    assert texts(twilio) == [*PARTS, "One moment"]
    assert counted(metrics, "texts_sent") == 3
    assert twilio.ledger.calls("twilio", "list") == []


def test_a_restart_goes_on_with_the_part_that_is_missing(
    restart: Callable[[], tuple[Store, Delivery]],
    turn: Turn,
    twilio: TwilioStandIn,
    faults: Faults,
    metrics: Metrics,
) -> None:
    faults.add(Fault("twilio", "send", status=400, after=1))
    with pytest.raises(SendRefused):
        restart()[1].send_text(turn, LONG)
    assert texts(twilio) == PARTS[:1]
    restart()[1].send_text(turn, LONG)
    assert texts(twilio) == PARTS
    assert counted(metrics, "texts_sent") == 3


def test_a_part_is_noted_before_it_is_sent(
    restart: Callable[[], tuple[Store, Delivery]],
    turn: Turn,
    store: Store,
    whatsapp: WhatsApp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(*_: object, **__: object) -> str:
        raise Died

    monkeypatch.setattr(whatsapp, "send_text", die)
    monkeypatch.setattr(whatsapp, "send_voice", die)
    with pytest.raises(Died):
        restart()[1].send_text(turn, "Hello")
    with pytest.raises(Died):
        restart()[1].send_voice(turn, "note")
    for part in ("text 1", VOICE):
        sending = store.sending(turn, part)
        assert sending
        assert sending.sid is None


@pytest.mark.parametrize("taken", [True, False])
def test_a_text_whose_end_nobody_knows_is_looked_up(
    delivery: Delivery,
    turn: Turn,
    store: Store,
    whatsapp: WhatsApp,
    twilio: TwilioStandIn,
    taken: bool,
) -> None:
    """The process died between noting the part and hearing from Twilio."""
    store.begin_sending(turn, "text 1")
    if taken:
        whatsapp.send_text(turn.message.sender, "Hello", callback="")
    delivery.send_text(turn, "Hello")
    assert texts(twilio) == ["Hello"]
    sending = store.sending(turn, "text 1")
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
def test_a_lost_answer_of_twilio_loses_and_repeats_nothing(
    delivery: Delivery,
    turn: Turn,
    store: Store,
    twilio: TwilioStandIn,
    faults: Faults,
    fault: Fault,
) -> None:
    faults.add(fault)
    delivery.send_text(turn, "Hello")
    assert texts(twilio) == ["Hello"]
    sending = store.sending(turn, "text 1")
    assert sending
    assert sending.sid == twilio.messages()[0].sid


def test_the_same_words_sent_just_before_are_not_taken_for_it(
    delivery: Delivery,
    new_turn: Callable[[], Turn],
    store: Store,
    twilio: TwilioStandIn,
    faults: Faults,
) -> None:
    """Two questions in one second may get the same apology; each needs its own."""
    delivery.send_text(new_turn(), "Sorry")
    second, third = new_turn(), new_turn()
    faults.add(Fault("twilio", "send", status=500))
    delivery.send_text(second, "Sorry")
    assert texts(twilio) == ["Sorry"] * 2
    store.begin_sending(third, "text 1")
    delivery.send_text(third, "Sorry")
    assert texts(twilio) == ["Sorry"] * 3


def test_a_callback_says_that_a_text_was_taken(
    delivery: Delivery,
    turn: Turn,
    store: Store,
    whatsapp: WhatsApp,
    twilio: TwilioStandIn,
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twilio's answer is lost, and its list does not show the message yet."""

    def called_back(*_: object, **__: object) -> None:
        store.finish_sending(turn, "text 1", twilio.messages()[0].sid)

    monkeypatch.setattr(whatsapp, "find_text", called_back)
    faults.add(Fault("twilio", "send", "vanish"))
    delivery.send_text(turn, "Hello")
    assert texts(twilio) == ["Hello"]


def test_every_send_asks_for_callbacks_of_its_own(
    delivery: Delivery, turn: Turn, store: Store, twilio: TwilioStandIn
) -> None:
    delivery.send_text(turn, LONG)
    delivery.send_voice(turn, "note")
    noted = [store.sending(turn, part) for part in ("text 1", "text 2", "text 3", VOICE)]
    assert [message.callback for message in twilio.messages()] == [
        f"{PUBLIC_URL}/status?sending={sending and sending.callback}" for sending in noted
    ]


def test_twilio_that_stays_silent_is_an_error_and_the_next_attempt_sends(
    delivery: Delivery, turn: Turn, store: Store, twilio: TwilioStandIn, faults: Faults
) -> None:
    faults.add(Fault("twilio", "send", status=500, times=2))
    with pytest.raises(SendUncertain):
        delivery.send_text(turn, "Hello")
    sending = store.sending(turn, "text 1")
    assert sending
    assert sending.sid is None
    delivery.send_text(turn, "Hello")
    assert texts(twilio) == ["Hello"]


def test_a_disk_that_fails_after_the_send_repeats_nothing(
    delivery: Delivery,
    turn: Turn,
    twilio: TwilioStandIn,
    restart: Callable[[], tuple[Store, Delivery]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "finish_sending", fail)
        with pytest.raises(OSError, match="disk"):
            delivery.send_text(turn, "Hello")
    restart()[1].send_text(turn, "Hello")
    assert texts(twilio) == ["Hello"]


def test_a_voice_note_is_known_to_be_sent(
    restart: Callable[[], tuple[Store, Delivery]], turn: Turn, twilio: TwilioStandIn
) -> None:
    _, delivery = restart()
    assert not delivery.voice_sent(turn)
    delivery.send_voice(turn, "note")
    assert restart()[1].voice_sent(turn)
    assert [message.media_url for message in twilio.messages()] == [f"{PUBLIC_URL}/media/note.ogg"]
    assert twilio.ledger.calls("twilio", "list") == []


@pytest.mark.parametrize("taken", [True, False])
def test_a_voice_note_whose_end_nobody_knows_is_looked_up(
    delivery: Delivery, turn: Turn, store: Store, whatsapp: WhatsApp, taken: bool
) -> None:
    """The text that goes before it is not it."""
    delivery.send_text(turn, "Hello")
    store.begin_sending(turn, VOICE)
    to = turn.message.sender
    sid = whatsapp.send_voice(to, "note.ogg", callback="") if taken else None
    assert delivery.voice_sent(turn) is taken
    sending = store.sending(turn, VOICE)
    assert sending
    assert sending.sid == sid


def test_the_voice_note_before_is_not_taken_for_it(
    delivery: Delivery, new_turn: Callable[[], Turn], store: Store
) -> None:
    first, second = new_turn(), new_turn()
    delivery.send_voice(first, "first")
    store.begin_sending(second, VOICE)
    assert not delivery.voice_sent(second)
    delivery.send_voice(second, "second")
    assert delivery.voice_sent(second)
