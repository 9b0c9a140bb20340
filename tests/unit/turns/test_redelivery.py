"""Which messages of an answer are sent a second time, when, and which are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from audio import formats
from audio.ffmpeg import Ffmpeg
from audio.formats import detect_format
from core.errors import AudioError
from core.models import Answer
from sandbox.faults import Fault
from sandbox.speech.codec import Codec
from sandbox.speech.tone import sine
from sandbox.twilio.messages import Outbound
from storage.database import Database, StorageError
from storage.engine import open_sqlite
from storage.outbound_messages import MP3, VOICE
from storage.resend_queue import CLAIM_SECONDS
from storage.turns import STALE_SECONDS
from tests.unit.conftest import PUBLIC_URL, START
from tests.unit.delivery_process import FFMPEG, NOTE_LIFETIME_SECONDS, DeliveryProcess
from text.splitting import MESSAGE_LIMIT
from whatsapp import client as whatsapp_client
from whatsapp.delivery_status import RESEND_SECONDS
from whatsapp.status_callbacks import State

LONG = f"{'a' * MESSAGE_LIMIT}\n\n*b*"
PARTS = ["text 1", "text 2", VOICE]
# Twilio's error codes: a rate limit, and a voice note that WhatsApp cannot use.
RATE_LIMIT, UNPLAYABLE = 63018, 63019


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_sqlite(str(tmp_path))


@pytest.fixture
def process(process: DeliveryProcess) -> DeliveryProcess:
    """A finished turn whose process, ``PARTS``, Twilio took."""
    process.store.save_answer(process.turn, Answer(LONG, "en"))
    process.delivery.send_text(process.turn, LONG)
    note = Codec(ffmpeg=FFMPEG).note(sine(440, 1.0))
    process.delivery.send_voice(process.turn, note)
    process.store.finish(process.turn)
    return process


def report_failure(process: DeliveryProcess, part: str, code: int) -> None:
    process.report(process.find(part), State.UNDELIVERED, code=code)


def retry_for_minutes(process: DeliveryProcess, minutes: int) -> None:
    for _ in range(minutes):
        process.clock.now += CLAIM_SECONDS
        process.redelivery.send_due()


def resent(process: DeliveryProcess) -> list[Outbound]:
    """The messages that Twilio took beside those of the first attempt."""
    return process.twilio.messages()[len(PARTS) :]


def resent_texts(process: DeliveryProcess) -> list[str]:
    """Their texts; a voice note has an empty one."""
    return [message.body for message in resent(process)]


def resend_counts(process: DeliveryProcess) -> tuple[int, int]:
    """How many texts and voice notes were counted as sent again."""
    return process.counter("texts_resent"), process.counter("voice_notes_resent")


def check_recorded(process: DeliveryProcess, part: str, message: Outbound) -> None:
    """The second attempt has a record and a callback address of its own."""
    again = process.find(f"{part} again")
    assert again.sid == message.sid
    assert message.callback == f"{PUBLIC_URL}/status?sending={again.callback}"


def execute(database: Database, statement: str) -> None:
    database.change(text(statement))


def refuse_change(database: Database, change: str) -> None:
    """Let the database fail at ``change`` until ``allow_change``."""
    refusal = "BEGIN SELECT RAISE(FAIL, 'away'); END"
    execute(database, f"CREATE TRIGGER refusal BEFORE {change} {refusal}")


def allow_change(database: Database) -> None:
    execute(database, "DROP TRIGGER refusal")


def test_parts_that_met_a_rate_limit_are_sent_again_once_after_a_minute(
    process: DeliveryProcess,
) -> None:
    for part in PARTS[1:]:
        report_failure(process, part, RATE_LIMIT)
    process.redelivery.send_due()
    assert resent(process) == []
    process.clock.now += RESEND_SECONDS
    for _ in range(2):
        process.redelivery.send_due()
    second_text, voice = resent(process)
    assert second_text.body == "*b*"
    assert voice.media_url == process.twilio.messages()[2].media_url
    assert resend_counts(process) == (1, 1)
    for part, message in zip(PARTS[1:], (second_text, voice), strict=True):
        check_recorded(process, part, message)


def test_an_unplayable_voice_note_is_sent_as_mp3_that_twilio_can_fetch(
    process: DeliveryProcess,
) -> None:
    report_failure(process, VOICE, UNPLAYABLE)
    process.redelivery.send_due()
    (voice,) = resent(process)
    assert voice.media_url
    token = voice.media_url.removeprefix(f"{PUBLIC_URL}/media/").removesuffix(".mp3")
    mp3 = process.outbound_messages.voice_note(token, MP3)
    assert detect_format(mp3 or b"") == formats.MP3
    assert process.outbound_messages.voice_note(token) is None
    assert resend_counts(process) == (0, 1)


def test_a_voice_note_that_has_expired_is_not_sent_again(process: DeliveryProcess) -> None:
    report_failure(process, VOICE, UNPLAYABLE)
    process.clock.now += NOTE_LIFETIME_SECONDS
    process.redelivery.send_due()
    assert resent(process) == []
    process.clock.now += CLAIM_SECONDS
    assert process.resends.claim() is None


def test_a_part_that_twilio_refuses_the_second_time_is_given_up(process: DeliveryProcess) -> None:
    """The parts that are due after it are sent all the same."""
    for part in PARTS:
        report_failure(process, part, RATE_LIMIT)
        process.clock.now += 1
    process.clock.now += RESEND_SECONDS
    process.faults.add(Fault("twilio", "send", status=400))
    for _ in range(2):
        process.redelivery.send_due()
    assert resent_texts(process) == ["*b*", ""]
    assert process.metrics.snapshot().errors == {"SendRefused": 1}


def test_a_voice_note_that_cannot_be_read_is_sent_once_the_database_works_again(
    process: DeliveryProcess,
) -> None:
    report_failure(process, VOICE, UNPLAYABLE)
    execute(process.database, "ALTER TABLE voice_notes RENAME TO elsewhere")
    with pytest.raises(StorageError):
        process.redelivery.send_due()
    execute(process.database, "ALTER TABLE elsewhere RENAME TO voice_notes")
    retry_for_minutes(process, 3)
    assert len(resent(process)) == 1


def test_an_mp3_that_cannot_be_stored_is_sent_once_the_database_works_again(
    process: DeliveryProcess,
) -> None:
    report_failure(process, VOICE, UNPLAYABLE)
    refuse_change(process.database, "INSERT ON voice_notes")
    with pytest.raises(StorageError):
        process.redelivery.send_due()
    allow_change(process.database)
    retry_for_minutes(process, 3)
    (voice,) = resent(process)
    assert (voice.media_url or "").endswith(".mp3")


@pytest.mark.parametrize("error", [AudioError("ffmpeg cannot be run"), OSError(24, "no files")])
def test_a_voice_note_is_sent_later_where_ffmpeg_cannot_be_run_now(
    process: DeliveryProcess, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Other parts that are due are sent meanwhile."""
    report_failure(process, VOICE, UNPLAYABLE)
    report_failure(process, "text 2", RATE_LIMIT)
    process.clock.now += RESEND_SECONDS

    def fail(_: Ffmpeg, note: bytes) -> bytes:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(Ffmpeg, "encode_mp3", fail)
        process.redelivery.send_due()
    assert resent_texts(process) == ["*b*"]
    retry_for_minutes(process, 3)
    assert resent_texts(process) == ["*b*", ""]


@pytest.fixture
def single_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of Twilio repeats no failed send by itself."""
    monkeypatch.setattr(whatsapp_client, "RETRY_DELAYS", ())


@pytest.mark.usefixtures("single_attempts")
@pytest.mark.parametrize("trouble", ["a limit", "no connection"])
@pytest.mark.parametrize("part", ["text 2", VOICE])
def test_a_second_attempt_that_surely_failed_is_repeated_and_recorded(
    process: DeliveryProcess, trouble: str, part: str
) -> None:
    report_failure(process, part, RATE_LIMIT)
    process.clock.now += RESEND_SECONDS
    if trouble == "a limit":
        process.faults.add(Fault("twilio", "send", status=429))
    else:
        process.twilio.stop()
    process.redelivery.send_due()
    assert process.outbound_messages.find(process.turn, f"{part} again") is None
    if trouble == "no connection":
        process.twilio.start()
    process.redelivery.send_due()
    assert resent(process) == []
    retry_for_minutes(process, 3)
    (message,) = resent(process)
    check_recorded(process, part, message)
    assert sum(resend_counts(process)) == 1


@pytest.mark.usefixtures("single_attempts")
def test_second_attempts_end_when_the_message_would_come_too_late(process: DeliveryProcess) -> None:
    report_failure(process, "text 2", RATE_LIMIT)
    process.faults.add(Fault("twilio", "send", status=429, times=None))
    while process.clock.now < START + 2 * STALE_SECONDS:
        process.redelivery.send_due()
        process.clock.now += CLAIM_SECONDS
    tries = process.metrics.snapshot().errors["SendBusy"]
    assert 1 < tries < STALE_SECONDS / CLAIM_SECONDS


def test_a_second_attempt_that_twilio_took_without_an_answer_is_not_repeated(
    process: DeliveryProcess,
) -> None:
    report_failure(process, "text 2", RATE_LIMIT)
    process.faults.add(Fault("twilio", "send", "vanish"))
    retry_for_minutes(process, 4)
    assert resent_texts(process) == ["*b*"]
    assert process.metrics.snapshot().errors == {"SendUncertain": 1}


def test_a_second_attempt_that_cannot_be_recorded_is_not_repeated(process: DeliveryProcess) -> None:
    """It is counted, and the parts that are due after it are sent too."""
    for part in PARTS[1:]:
        report_failure(process, part, RATE_LIMIT)
        process.clock.now += 1
    process.clock.now += RESEND_SECONDS
    refuse_change(process.database, "UPDATE OF sid ON sendings")
    with capture_logs() as lines:
        process.redelivery.send_due()
    allow_change(process.database)
    retry_for_minutes(process, 3)
    assert resent_texts(process) == ["*b*", ""]
    assert resend_counts(process) == (1, 1)
    assert [line["event"] for line in lines].count("Sent again") == 2
