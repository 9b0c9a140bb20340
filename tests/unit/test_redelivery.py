"""What is sent once more, and what is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import pytest

import container
import receipts as receipts_module
from audio import Ffmpeg
from container import sniff
from database import Database
from delivery import Delivery
from inbound import Inbound, Kind
from metrics import Metrics
from opening import open_sqlite
from receipts import LIMIT_SECONDS, Receipts
from redelivery import Redelivery
from sandbox.faults import Fault, Faults
from sandbox.speech.codec import Codec
from sandbox.speech.hum import hum
from sandbox.twilio.messages import Outbound
from sandbox.twilio.standin import TwilioStandIn
from segments import MESSAGE_LIMIT
from sendings import MP3, VOICE, Sendings
from status import State, Status
from store import Answer, Store, Turn
from tests.unit.conftest import PUBLIC_URL, START, USER, Clock, Unclaimed, begin
from whatsapp import WhatsApp

LONG = f"{'a' * MESSAGE_LIMIT}\n\n*b*"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
NOTE_LIFETIME = 300.0


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_sqlite(str(tmp_path))


@pytest.fixture
def store(database: Database, clock: Clock) -> Store:
    return Store(database=database)


@pytest.fixture
def sendings(database: Database, clock: Clock) -> Sendings:
    return Sendings(database=database, note_lifetime=NOTE_LIFETIME)


@pytest.fixture
def receipts(
    database: Database, metrics: Metrics, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Receipts:
    monkeypatch.setattr(receipts_module, "time", SimpleNamespace(time=clock))
    return Receipts(database=database, metrics=metrics, log_key="")


@pytest.fixture
def redelivery(
    receipts: Receipts, sendings: Sendings, whatsapp: WhatsApp, metrics: Metrics
) -> Redelivery:
    return Redelivery(
        receipts=receipts,
        sendings=sendings,
        whatsapp=whatsapp,
        ffmpeg=Ffmpeg(path=FFMPEG, longest_seconds=60),
        metrics=metrics,
        log_key="",
    )


@pytest.fixture
def turn(store: Store, database: Database) -> Turn:
    turn = store.admit(Inbound(sid="SM1", sender=USER, kind=Kind.TEXT, received_at=START))
    assert turn
    return begin(database, turn)


@pytest.fixture
def sent(
    store: Store, sendings: Sendings, whatsapp: WhatsApp, metrics: Metrics, turn: Turn
) -> list[str]:
    """An answer in two texts and a voice note; what the three are noted as."""
    delivery = Delivery(claims=Unclaimed(), whatsapp=whatsapp, sendings=sendings, metrics=metrics)
    store.save_answer(turn, Answer(LONG, "en"))
    delivery.send_text(turn, LONG)
    delivery.send_voice(turn, Codec(ffmpeg=FFMPEG).note(hum(440, 1.0)))
    store.finish(turn)
    return ["text 1", "text 2", VOICE]


def fail(receipts: Receipts, sendings: Sendings, turn: Turn, part: str, code: int) -> None:
    begun = sendings.known(turn, part)
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
    sendings: Sendings,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    metrics: Metrics,
    clock: Clock,
) -> None:
    """Each part that was lost, once, and none before a minute is over."""
    for part in sent[1:]:
        fail(receipts, sendings, turn, part, 63018)
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
        again = sendings.known(turn, f"{part} again")
        assert again
        assert again.sid == message.sid
        assert message.callback == f"{PUBLIC_URL}/status?sending={again.callback}"


def test_the_mp3_is_kept_for_twilio_to_fetch(
    receipts: Receipts,
    redelivery: Redelivery,
    sendings: Sendings,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    metrics: Metrics,
) -> None:
    fail(receipts, sendings, turn, VOICE, 63019)
    redelivery.send_due()
    (voice,) = resent(twilio)
    assert voice.media_url
    token = voice.media_url.removeprefix(f"{PUBLIC_URL}/media/").removesuffix(".mp3")
    assert sniff(sendings.note(token, MP3) or b"") == container.MP3
    assert sendings.note(token) is None
    assert counted(metrics) == (0, 1)


def test_a_voice_note_that_is_gone_is_let_go(
    receipts: Receipts,
    redelivery: Redelivery,
    sendings: Sendings,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    clock: Clock,
) -> None:
    fail(receipts, sendings, turn, VOICE, 63019)
    clock.now += NOTE_LIFETIME
    redelivery.send_due()
    assert resent(twilio) == []
    assert receipts.claim() is None


def test_what_twilio_refuses_then_is_let_go(
    receipts: Receipts,
    redelivery: Redelivery,
    sendings: Sendings,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    faults: Faults,
    metrics: Metrics,
    clock: Clock,
) -> None:
    """What is due after it is sent all the same."""
    for part in sent:
        fail(receipts, sendings, turn, part, 63018)
        clock.now += 1
    clock.now += LIMIT_SECONDS
    faults.add(Fault("twilio", "send", status=400))
    for _ in range(2):
        redelivery.send_due()
    assert [message.body for message in resent(twilio)] == ["*b*", ""]
    assert metrics.figures().errors == {"SendRefused": 1}
