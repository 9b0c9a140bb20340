"""What is sent once more, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import pytest
from sqlalchemy import Engine

import container
import receipts as receipts_module
from audio import Ffmpeg
from container import sniff
from database import open_sqlite
from delivery import Delivery
from inbound import Inbound, Kind
from metrics import Metrics
from receipts import LIMIT_SECONDS, Receipts
from redelivery import Redelivery
from sandbox import CREDENTIALS
from sandbox.faults import Fault, Faults
from sandbox.ledger import Ledger
from sandbox.pace import INSTANT
from sandbox.speech.codec import Codec
from sandbox.speech.hum import hum
from sandbox.twilio.messages import Outbound
from sandbox.twilio.standin import TwilioStandIn
from segments import MESSAGE_LIMIT
from settings import load_settings
from status import State, Status
from store import MP3, VOICE, Answer, Store, Turn
from tests.unit.conftest import START, Clock
from whatsapp import WhatsApp

# Nobody is there: no callback comes but those of the tests.
PUBLIC_URL = "http://127.0.0.1:9"
USER = "whatsapp:+14155550100"
LONG = f"{'a' * MESSAGE_LIMIT}\n\n**b**"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
NOTE_LIFETIME = 300.0


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
    standin.open_window(USER)
    yield standin
    standin.stop()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def whatsapp(twilio: TwilioStandIn, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> WhatsApp:
    addresses = {
        "TWILIO_API_URL": twilio.url,
        "SALESFORCE_INSTANCE_URL": twilio.url,
        "PUBLIC_URL": PUBLIC_URL,
    }
    for name, value in (CREDENTIALS | addresses).items():
        monkeypatch.setenv(name, value)
    return WhatsApp(settings=load_settings(), metrics=metrics, width=1, typing_width=1)


@pytest.fixture
def database(tmp_path: Path) -> Engine:
    return open_sqlite(str(tmp_path))


@pytest.fixture
def store(database: Engine, clock: Clock) -> Store:
    return Store(engine=database, note_lifetime=NOTE_LIFETIME)


@pytest.fixture
def receipts(
    database: Engine, metrics: Metrics, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Receipts:
    monkeypatch.setattr(receipts_module, "time", SimpleNamespace(time=clock))
    return Receipts(engine=database, metrics=metrics, log_key="")


@pytest.fixture
def redelivery(
    receipts: Receipts, store: Store, whatsapp: WhatsApp, metrics: Metrics
) -> Redelivery:
    return Redelivery(
        receipts=receipts,
        store=store,
        whatsapp=whatsapp,
        ffmpeg=Ffmpeg(path=FFMPEG, longest_seconds=60),
        metrics=metrics,
        log_key="",
    )


@pytest.fixture
def turn(store: Store) -> Turn:
    turn = store.admit(Inbound(sid="SM1", sender=USER, kind=Kind.TEXT, received_at=START))
    assert turn
    return store.begin(turn)


@pytest.fixture
def sent(store: Store, whatsapp: WhatsApp, metrics: Metrics, turn: Turn) -> list[str]:
    """An answer in two texts and a voice note; what the three are noted as."""
    delivery = Delivery(whatsapp=whatsapp, store=store, metrics=metrics)
    store.save_answer(turn, Answer(LONG, "en"))
    delivery.send_text(turn, LONG)
    delivery.send_voice(turn, store.keep_note(Codec(ffmpeg=FFMPEG).note(hum(440, 1.0))))
    store.finish(turn)
    return ["text 1", "text 2", VOICE]


def fail(receipts: Receipts, store: Store, turn: Turn, part: str, code: int) -> None:
    begun = store.sending(turn, part)
    assert begun
    receipts.take(Status(begun.callback, begun.sid or "", State.UNDELIVERED, code))


def resent(twilio: TwilioStandIn) -> list[Outbound]:
    return twilio.messages()[3:]


def counted(metrics: Metrics) -> tuple[int, int]:
    counters = metrics.figures().counters
    return counters["texts_resent"], counters["voice_notes_resent"]


def test_what_met_a_limit_is_sent_as_it_was(
    receipts: Receipts,
    redelivery: Redelivery,
    store: Store,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    metrics: Metrics,
    clock: Clock,
) -> None:
    """Each part that was lost, once, and none before a minute is over."""
    for part in sent[1:]:
        fail(receipts, store, turn, part, 63018)
    redelivery.send_due()
    assert resent(twilio) == []
    clock.now += LIMIT_SECONDS
    for _ in range(2):
        redelivery.send_due()
    text, voice = resent(twilio)
    assert text.body == "*b*"
    assert voice.media_url == twilio.messages()[2].media_url
    assert counted(metrics) == (1, 1)
    for part, message in zip(sent[1:], (text, voice), strict=True):
        again = store.sending(turn, f"{part} again")
        assert again
        assert again.sid == message.sid
        assert message.callback == f"{PUBLIC_URL}/status?sending={again.callback}"


def test_the_mp3_is_kept_for_twilio_to_fetch(
    receipts: Receipts,
    redelivery: Redelivery,
    store: Store,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    metrics: Metrics,
) -> None:
    fail(receipts, store, turn, VOICE, 63019)
    redelivery.send_due()
    (voice,) = resent(twilio)
    assert voice.media_url
    token = voice.media_url.removeprefix(f"{PUBLIC_URL}/media/").removesuffix(".mp3")
    assert sniff(store.note(token, MP3) or b"") == container.MP3
    assert store.note(token) is None
    assert counted(metrics) == (0, 1)


def test_a_voice_note_that_is_gone_is_let_go(
    receipts: Receipts,
    redelivery: Redelivery,
    store: Store,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    clock: Clock,
) -> None:
    fail(receipts, store, turn, VOICE, 63019)
    clock.now += NOTE_LIFETIME
    redelivery.send_due()
    assert resent(twilio) == []
    assert receipts.claim() is None


def test_what_twilio_refuses_then_is_let_go(
    receipts: Receipts,
    redelivery: Redelivery,
    store: Store,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    faults: Faults,
    metrics: Metrics,
    clock: Clock,
) -> None:
    """What is due after it is sent all the same."""
    for part in sent:
        fail(receipts, store, turn, part, 63018)
        clock.now += 1
    clock.now += LIMIT_SECONDS
    faults.add(Fault("twilio", "send", status=400))
    for _ in range(2):
        redelivery.send_due()
    assert [message.body for message in resent(twilio)] == ["*b*", ""]
    assert metrics.figures().errors == {"SendRefused": 1}
