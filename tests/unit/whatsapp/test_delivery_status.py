"""Status callbacks are merged and counted, and undelivered messages claimed for a second try."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import OperationalError
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from core.logs import hash_sender
from core.models import Inbound, Kind
from metrics import Metrics
from storage.outbound_messages import VOICE
from storage.resend_queue import CLAIM_SECONDS, Undelivered
from storage.turns import STALE_SECONDS
from tests.sandbox.waiting import wait_until
from tests.unit.claiming import begin
from tests.unit.delivery_process import USER, DeliveryProcess
from whatsapp import delivery_status
from whatsapp.delivery_status import RESEND_SECONDS
from whatsapp.status_callbacks import State, Status

# So many that the test would time out if each waited for its own next attempt.
LATE_LIMIT = 50


@pytest.fixture(autouse=True)
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_status, "LATE_LIMIT", LATE_LIMIT)


def counted(metrics: Metrics) -> dict[str, int]:
    names = ("delivered", "read", "undelivered", "failed")
    counters = metrics.snapshot().counters
    return {name: counters[f"messages_{name}"] for name in names if counters[f"messages_{name}"]}


def test_a_callback_that_comes_before_twilios_answer_counts(process: DeliveryProcess) -> None:
    """The callback also tells the message's SID, in case Twilio's answer never comes."""
    begun = process.outbound_messages.begin(process.turn, "text 1")
    process.report(begun, State.DELIVERED)
    known = process.outbound_messages.find(process.turn, "text 1")
    assert known
    assert known.sid == "SM-out"
    process.report(begun, State.SENT, State.DELIVERED, State.READ, State.READ)
    assert counted(process.metrics) == {"delivered": 1, "read": 1}


def test_simultaneous_callbacks_about_one_message_count_once(process: DeliveryProcess) -> None:
    for number in range(20):
        begun = process.outbound_messages.begin(process.turn, f"text {number}")
        status = Status(begun.callback, "SM-out", State.READ, None)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(process.delivery_statuses.record, [status] * 4))
    assert counted(process.metrics) == {"delivered": 20, "read": 20}


def test_a_failure_is_counted_by_its_code_and_logged_without_the_number(
    process: DeliveryProcess,
) -> None:
    begun = process.outbound_messages.begin(process.turn, "text 1")
    with capture_logs(processors=[merge_contextvars]) as lines:
        process.report(begun, *[State.UNDELIVERED] * 3, State.FAILED, code=63016)
    assert counted(process.metrics) == {"undelivered": 1}
    assert process.metrics.snapshot().delivery_errors == {"63016": 1}
    (line,) = lines
    assert re.match(r"Not delivered \(63016\): .*24 h", line["event"])
    assert (line["part"], line["turn"]) == ("text 1", "SM1")
    assert USER.removeprefix("whatsapp:+") not in str(line)


def test_a_failure_is_logged_with_the_hash_of_the_user_and_not_of_the_address(
    process: DeliveryProcess,
) -> None:
    """So all lines about a user can be found, whether the number is hidden or not."""
    received = Inbound(sid="SM99", sender="whatsapp:US.1", kind=Kind.TEXT, address=USER)
    turn = process.store.insert(received)
    assert turn
    message = process.outbound_messages.begin(begin(process.database, turn), "text 1")
    with capture_logs(processors=[merge_contextvars]) as lines:
        process.report(message, State.FAILED, code=63016)
    assert [line["sender"] for line in lines] == [hash_sender("whatsapp:US.1", key="key")]


def test_a_status_of_an_unknown_message_changes_nothing(process: DeliveryProcess) -> None:
    """It may belong to another app, or to a database that was replaced."""
    process.outbound_messages.begin(process.turn, "text 1")
    process.delivery_statuses.record(Status("f" * 32, "SM-out", State.FAILED, 63019))
    process.delivery_statuses.record(Status("", "SM-out", State.READ, None))
    assert counted(process.metrics) == {}
    assert process.resends.claim() is None


def test_callbacks_wait_in_memory_while_the_database_fails_up_to_a_limit(
    process: DeliveryProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written as soon as the database works again."""
    begun = [
        process.outbound_messages.begin(process.turn, f"text {number}")
        for number in range(LATE_LIMIT + 1)
    ]
    statuses = [Status(each.callback, "SM-out", State.READ, None) for each in begun]

    def fail(_: object) -> None:
        raise OperationalError("", None, Exception("away"))

    with monkeypatch.context() as broken:
        broken.setattr(process.delivery_statuses, "_write", fail)
        assert [process.delivery_statuses.record(status) for status in statuses] == [
            True
        ] * LATE_LIMIT + [False]
        assert counted(process.metrics) == {}
    wait_until(lambda: counted(process.metrics).get("read") == LATE_LIMIT, "all that waited")
    assert process.delivery_statuses.record(statuses[-1])
    wait_until(
        lambda: counted(process.metrics)["read"] == LATE_LIMIT + 1, "the one that found no place"
    )


@pytest.mark.parametrize("code", [63019, 63021])
def test_an_unplayable_voice_note_is_claimed_once(process: DeliveryProcess, code: int) -> None:
    begun = process.outbound_messages.begin(process.turn, VOICE, audio=b"OggS")
    process.report(begun, *[State.UNDELIVERED] * 2, code=code)
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: process.resends.claim(), range(8)))
    (undelivered,) = filter(None, claims)
    assert (undelivered.part, undelivered.code, undelivered.voice_note_token) == (
        VOICE,
        code,
        begun.voice_note_token,
    )
    assert undelivered.turn.message.sender == USER
    assert process.resends.begin(undelivered)
    # The second attempt has a callback address of its own, and is the last.
    again = process.outbound_messages.find(process.turn, undelivered.resend_part)
    assert again
    assert again.callback == undelivered.callback != begun.callback
    process.report(again, State.UNDELIVERED, code=code)
    process.clock.now += CLAIM_SECONDS
    assert process.resends.claim() is None


def test_a_claim_that_was_not_begun_expires_after_a_minute(process: DeliveryProcess) -> None:
    """Any process may claim it then, and the first one can no longer begin."""
    process.report(
        process.outbound_messages.begin(process.turn, VOICE, audio=b"OggS"),
        State.UNDELIVERED,
        code=63019,
    )
    slow = process.resends.claim()
    assert slow
    assert process.resends.claim() is None
    process.clock.now += CLAIM_SECONDS
    undelivered = process.resends.claim()
    assert undelivered
    process.resends.drop(slow)
    assert not process.resends.begin(slow)
    assert process.resends.begin(undelivered)
    assert not process.resends.begin(undelivered)


def test_a_second_attempt_that_was_not_sent_can_be_postponed(process: DeliveryProcess) -> None:
    """It cannot once a callback has said that it was sent after all."""
    process.report(
        process.outbound_messages.begin(process.turn, VOICE, audio=b"OggS"),
        State.UNDELIVERED,
        code=63019,
    )
    for sent in (False, True):
        undelivered = process.resends.claim()
        assert undelivered
        assert process.resends.begin(undelivered)
        again = process.outbound_messages.find(process.turn, undelivered.resend_part)
        assert again
        if sent:
            process.report(again, State.QUEUED)
        process.resends.postpone(undelivered)
        assert (
            process.outbound_messages.find(process.turn, undelivered.resend_part) is not None
        ) is sent
        process.clock.now += CLAIM_SECONDS
    assert process.resends.claim() is None


@pytest.mark.parametrize("code", [63018, 30500, 63009, 63010, 63012])
@pytest.mark.parametrize("part", ["text 2", VOICE])
def test_after_a_rate_limit_or_an_internal_error_a_part_is_claimed_a_minute_later(
    process: DeliveryProcess, part: str, code: int
) -> None:
    process.report(process.outbound_messages.begin(process.turn, part), State.FAILED, code=code)
    assert process.resends.claim() is None
    process.clock.now += RESEND_SECONDS
    undelivered = process.resends.claim()
    assert isinstance(undelivered, Undelivered)
    assert undelivered.part == part


@pytest.mark.parametrize(
    ("part", "code"),
    [("text 1", 63016), ("text 1", 63019), ("notice", 63018), ("apology", 63018), (VOICE, 63024)]
    + [("notice", 30500), ("text 1 again", 63010), ("text 1", 63014), (VOICE, 63017)]
    + [("text 1", 63032), ("text 1", 63051), ("text 1", 30002), ("text 1", 30007)],
)
def test_parts_that_a_second_attempt_would_not_help_are_not_claimed(
    process: DeliveryProcess, code: int, part: str
) -> None:
    process.report(
        process.outbound_messages.begin(process.turn, part), State.UNDELIVERED, code=code
    )
    process.clock.now += RESEND_SECONDS
    assert process.resends.claim() is None


def test_no_part_of_an_old_turn_is_claimed(process: DeliveryProcess) -> None:
    begun = process.outbound_messages.begin(process.turn, VOICE, audio=b"OggS")
    process.clock.now += STALE_SECONDS
    process.report(begun, State.UNDELIVERED, code=63019)
    assert process.resends.claim() is None
