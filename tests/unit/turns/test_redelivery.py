"""What is sent once more, and what is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from audio import formats as container
from audio.ffmpeg import Ffmpeg
from audio.formats import detect_format
from core.errors import AudioError
from core.models import Answer, Inbound, Kind, Turn
from metrics import Metrics
from sandbox.faults import Fault, Faults
from sandbox.speech.codec import Codec
from sandbox.speech.tone import sine
from sandbox.twilio.messages import Outbound
from sandbox.twilio.standin import TwilioStandIn
from storage import resend_queue as resend_queue_module
from storage.database import Database, StorageError
from storage.engine import open_sqlite
from storage.outbound_messages import MP3, VOICE, OutboundMessages
from storage.resend_queue import CLAIM_SECONDS, ResendQueue
from storage.turns import STALE_SECONDS, TurnTable
from tests.unit.conftest import PUBLIC_URL, START, USER, Clock, Unclaimed, begin
from text.splitting import MESSAGE_LIMIT
from turns.redelivery import Redelivery
from whatsapp import client as whatsapp_module
from whatsapp import delivery_status as delivery_status_module
from whatsapp.client import WhatsApp
from whatsapp.delivery import Delivery
from whatsapp.delivery_status import RESEND_SECONDS, DeliveryStatuses
from whatsapp.status_callbacks import State, Status

LONG = f"{'a' * MESSAGE_LIMIT}\n\n*b*"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
NOTE_LIFETIME = 300.0


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_sqlite(str(tmp_path))


@pytest.fixture
def store(database: Database, clock: Clock) -> TurnTable:
    return TurnTable(database=database)


@pytest.fixture
def outbound_messages(database: Database, clock: Clock) -> OutboundMessages:
    return OutboundMessages(database=database, note_lifetime=NOTE_LIFETIME)


@pytest.fixture
def delivery_statuses(
    database: Database, metrics: Metrics, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> DeliveryStatuses:
    monkeypatch.setattr(delivery_status_module, "time", SimpleNamespace(time=clock))
    return DeliveryStatuses(database=database, metrics=metrics, log_key="")


@pytest.fixture
def resends(database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ResendQueue:
    monkeypatch.setattr(resend_queue_module, "time", SimpleNamespace(time=clock))
    return ResendQueue(database=database)


@pytest.fixture
def redelivery(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    whatsapp: WhatsApp,
    metrics: Metrics,
) -> Redelivery:
    return Redelivery(
        queue=resends,
        outbound_messages=outbound_messages,
        whatsapp=whatsapp,
        ffmpeg=Ffmpeg(path=FFMPEG, longest_seconds=60),
        metrics=metrics,
        log_key="",
    )


@pytest.fixture
def turn(store: TurnTable, database: Database) -> Turn:
    turn = store.insert(Inbound(sid="SM1", sender=USER, kind=Kind.TEXT, received_at=START))
    assert turn
    return begin(database, turn)


@pytest.fixture
def sent(
    store: TurnTable,
    outbound_messages: OutboundMessages,
    whatsapp: WhatsApp,
    metrics: Metrics,
    turn: Turn,
) -> list[str]:
    """An answer in two texts and a voice note; what the three are noted as."""
    delivery = Delivery(
        claims=Unclaimed(), whatsapp=whatsapp, outbound_messages=outbound_messages, metrics=metrics
    )
    store.save_answer(turn, Answer(LONG, "en"))
    delivery.send_text(turn, LONG)
    delivery.send_voice(turn, Codec(ffmpeg=FFMPEG).note(sine(440, 1.0)))
    store.finish(turn)
    return ["text 1", "text 2", VOICE]


def fail(
    delivery_statuses: DeliveryStatuses,
    outbound_messages: OutboundMessages,
    turn: Turn,
    part: str,
    code: int,
) -> None:
    begun = outbound_messages.find(turn, part)
    assert begun
    delivery_statuses.record(Status(begun.callback, begun.sid or "", State.UNDELIVERED, code))


def resent(twilio: TwilioStandIn) -> list[Outbound]:
    return twilio.messages()[3:]


def execute(database: Database, statement: str) -> None:
    """Change the database behind the back of all that uses it."""
    database.change(text(statement))


def refuse(database: Database, change: str) -> None:
    """From now on the database fails at that change."""
    refusal = "BEGIN SELECT RAISE(FAIL, 'away'); END"
    execute(database, f"CREATE TRIGGER refusal BEFORE {change} {refusal}")


def allow(database: Database) -> None:
    execute(database, "DROP TRIGGER refusal")


def counted(metrics: Metrics) -> tuple[int, int]:
    counters = metrics.snapshot().counters
    return counters["texts_resent"], counters["voice_notes_resent"]


def test_what_met_a_limit_is_sent_as_it_was(
    delivery_statuses: DeliveryStatuses,
    redelivery: Redelivery,
    outbound_messages: OutboundMessages,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    metrics: Metrics,
    clock: Clock,
) -> None:
    """Each part that was lost, once, and none before a minute is over."""
    for part in sent[1:]:
        fail(delivery_statuses, outbound_messages, turn, part, 63018)
    redelivery.send_due()
    assert resent(twilio) == []
    clock.now += RESEND_SECONDS
    for _ in range(2):
        redelivery.send_due()
    text, voice = resent(twilio)
    assert text.body == "*b*"
    assert voice.media_url == twilio.messages()[2].media_url
    assert counted(metrics) == (1, 1)
    for part, message in zip(sent[1:], (text, voice), strict=True):
        again = outbound_messages.find(turn, f"{part} again")
        assert again
        assert again.sid == message.sid
        assert message.callback == f"{PUBLIC_URL}/status?sending={again.callback}"


def test_the_mp3_is_kept_for_twilio_to_fetch(
    delivery_statuses: DeliveryStatuses,
    redelivery: Redelivery,
    outbound_messages: OutboundMessages,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    metrics: Metrics,
) -> None:
    fail(delivery_statuses, outbound_messages, turn, VOICE, 63019)
    redelivery.send_due()
    (voice,) = resent(twilio)
    assert voice.media_url
    token = voice.media_url.removeprefix(f"{PUBLIC_URL}/media/").removesuffix(".mp3")
    assert detect_format(outbound_messages.voice_note(token, MP3) or b"") == container.MP3
    assert outbound_messages.voice_note(token) is None
    assert counted(metrics) == (0, 1)


def test_a_voice_note_that_is_gone_is_let_go(
    delivery_statuses: DeliveryStatuses,
    resends: ResendQueue,
    redelivery: Redelivery,
    outbound_messages: OutboundMessages,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    clock: Clock,
) -> None:
    fail(delivery_statuses, outbound_messages, turn, VOICE, 63019)
    clock.now += NOTE_LIFETIME
    redelivery.send_due()
    assert resent(twilio) == []
    clock.now += CLAIM_SECONDS
    assert resends.claim() is None


def test_what_twilio_refuses_then_is_let_go(
    delivery_statuses: DeliveryStatuses,
    redelivery: Redelivery,
    outbound_messages: OutboundMessages,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    faults: Faults,
    metrics: Metrics,
    clock: Clock,
) -> None:
    """What is due after it is sent all the same."""
    for part in sent:
        fail(delivery_statuses, outbound_messages, turn, part, 63018)
        clock.now += 1
    clock.now += RESEND_SECONDS
    faults.add(Fault("twilio", "send", status=400))
    for _ in range(2):
        redelivery.send_due()
    assert [message.body for message in resent(twilio)] == ["*b*", ""]
    assert metrics.snapshot().errors == {"SendRefused": 1}


def test_a_note_that_the_database_does_not_give_is_sent_once_it_does(
    delivery_statuses: DeliveryStatuses,
    redelivery: Redelivery,
    outbound_messages: OutboundMessages,
    database: Database,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    clock: Clock,
) -> None:
    fail(delivery_statuses, outbound_messages, turn, VOICE, 63019)
    execute(database, "ALTER TABLE voice_notes RENAME TO elsewhere")
    with pytest.raises(StorageError):
        redelivery.send_due()
    execute(database, "ALTER TABLE elsewhere RENAME TO voice_notes")
    for _ in range(3):
        clock.now += CLAIM_SECONDS
        redelivery.send_due()
    assert len(resent(twilio)) == 1


def test_an_mp3_that_the_database_does_not_take_is_sent_once_it_does(
    delivery_statuses: DeliveryStatuses,
    redelivery: Redelivery,
    outbound_messages: OutboundMessages,
    database: Database,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    clock: Clock,
) -> None:
    fail(delivery_statuses, outbound_messages, turn, VOICE, 63019)
    refuse(database, "INSERT ON voice_notes")
    with pytest.raises(StorageError):
        redelivery.send_due()
    allow(database)
    for _ in range(3):
        clock.now += CLAIM_SECONDS
        redelivery.send_due()
    (voice,) = resent(twilio)
    assert (voice.media_url or "").endswith(".mp3")


@pytest.mark.parametrize("error", [AudioError("ffmpeg cannot be run"), OSError(24, "no files")])
def test_a_note_that_ffmpeg_could_not_be_run_for_is_sent_once_it_can(
    delivery_statuses: DeliveryStatuses,
    redelivery: Redelivery,
    outbound_messages: OutboundMessages,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """What else is due is sent meanwhile."""
    fail(delivery_statuses, outbound_messages, turn, VOICE, 63019)
    fail(delivery_statuses, outbound_messages, turn, "text 2", 63018)
    clock.now += RESEND_SECONDS

    def encode(_: Ffmpeg, note: bytes) -> bytes:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(Ffmpeg, "encode_mp3", encode)
        redelivery.send_due()
    assert [message.body for message in resent(twilio)] == ["*b*"]
    for _ in range(3):
        clock.now += CLAIM_SECONDS
        redelivery.send_due()
    assert [message.body for message in resent(twilio)] == ["*b*", ""]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each send is one try."""
    monkeypatch.setattr(whatsapp_module, "RETRY_DELAYS", ())


@pytest.mark.parametrize("trouble", ["a limit", "no connection"])
@pytest.mark.parametrize("part", ["text 2", VOICE])
def test_what_surely_was_not_sent_is_sent_later(
    delivery_statuses: DeliveryStatuses,
    redelivery: Redelivery,
    outbound_messages: OutboundMessages,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    faults: Faults,
    metrics: Metrics,
    clock: Clock,
    hasty: None,
    trouble: str,
    part: str,
) -> None:
    """And what becomes of it is noted, as ever."""
    fail(delivery_statuses, outbound_messages, turn, part, 63018)
    clock.now += RESEND_SECONDS
    if trouble == "a limit":
        faults.add(Fault("twilio", "send", status=429))
    else:
        twilio.stop()
    redelivery.send_due()
    assert outbound_messages.find(turn, f"{part} again") is None
    if trouble == "no connection":
        twilio.start()
    redelivery.send_due()
    assert resent(twilio) == []
    for _ in range(3):
        clock.now += CLAIM_SECONDS
        redelivery.send_due()
    (message,) = resent(twilio)
    again = outbound_messages.find(turn, f"{part} again")
    assert again
    assert again.sid == message.sid
    assert message.callback == f"{PUBLIC_URL}/status?sending={again.callback}"
    assert sum(counted(metrics)) == 1


def test_what_surely_was_not_sent_is_let_go_when_it_would_come_too_late(
    delivery_statuses: DeliveryStatuses,
    redelivery: Redelivery,
    outbound_messages: OutboundMessages,
    turn: Turn,
    sent: list[str],
    faults: Faults,
    metrics: Metrics,
    clock: Clock,
    hasty: None,
) -> None:
    fail(delivery_statuses, outbound_messages, turn, "text 2", 63018)
    faults.add(Fault("twilio", "send", status=429, times=None))
    while clock.now < START + 2 * STALE_SECONDS:
        redelivery.send_due()
        clock.now += CLAIM_SECONDS
    tries = metrics.snapshot().errors["SendBusy"]
    assert 1 < tries < STALE_SECONDS / CLAIM_SECONDS


def test_what_may_have_been_sent_is_not_sent_again(
    delivery_statuses: DeliveryStatuses,
    redelivery: Redelivery,
    outbound_messages: OutboundMessages,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    faults: Faults,
    metrics: Metrics,
    clock: Clock,
) -> None:
    """Twilio took it, and its answer did not come."""
    fail(delivery_statuses, outbound_messages, turn, "text 2", 63018)
    faults.add(Fault("twilio", "send", "vanish"))
    for _ in range(4):
        clock.now += CLAIM_SECONDS
        redelivery.send_due()
    assert [message.body for message in resent(twilio)] == ["*b*"]
    assert metrics.snapshot().errors == {"SendUncertain": 1}


def test_what_was_sent_is_not_sent_again_where_that_cannot_be_noted(
    delivery_statuses: DeliveryStatuses,
    redelivery: Redelivery,
    outbound_messages: OutboundMessages,
    database: Database,
    turn: Turn,
    sent: list[str],
    twilio: TwilioStandIn,
    metrics: Metrics,
    clock: Clock,
) -> None:
    """It counts, and what is due after it is sent too."""
    for part in sent[1:]:
        fail(delivery_statuses, outbound_messages, turn, part, 63018)
        clock.now += 1
    clock.now += RESEND_SECONDS
    refuse(database, "UPDATE OF sid ON sendings")
    with capture_logs() as lines:
        redelivery.send_due()
    allow(database)
    for _ in range(3):
        clock.now += CLAIM_SECONDS
        redelivery.send_due()
    assert [message.body for message in resent(twilio)] == ["*b*", ""]
    assert counted(metrics) == (1, 1)
    assert [line["event"] for line in lines].count("Sent again") == 2
