"""Delivery statuses: merged, counted, logged, and the messages that are sent again for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from core.logs import hash_sender
from core.models import Inbound, Kind, Turn
from metrics import Metrics
from storage import resend_queue as resend_queue_module
from storage.database import Database
from storage.outbound_messages import VOICE, OutboundMessage, OutboundMessages
from storage.resend_queue import CLAIM_SECONDS, ResendQueue, Undelivered
from storage.turns import STALE_SECONDS, TurnTable
from tests.sandbox.waiting import wait_until
from tests.unit.conftest import START, USER, Clock, begin
from whatsapp import delivery_status as delivery_status_module
from whatsapp.delivery_status import RESEND_SECONDS, DeliveryStatuses
from whatsapp.status_callbacks import State, Status

# So many that the test would take too long if each of them waited for an attempt of its own.
LATE_LIMIT = 50

Report = Callable[..., None]


@pytest.fixture
def delivery_statuses(
    database: Database, metrics: Metrics, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> DeliveryStatuses:
    monkeypatch.setattr(delivery_status_module, "time", SimpleNamespace(time=clock))
    monkeypatch.setattr(delivery_status_module, "LATE_LIMIT", LATE_LIMIT)
    return DeliveryStatuses(database=database, metrics=metrics, log_key="key")


@pytest.fixture
def resends(database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ResendQueue:
    monkeypatch.setattr(resend_queue_module, "time", SimpleNamespace(time=clock))
    return ResendQueue(database=database)


@pytest.fixture
def store(database: Database, clock: Clock) -> TurnTable:
    return TurnTable(database=database)


@pytest.fixture
def outbound_messages(database: Database, clock: Clock) -> OutboundMessages:
    return OutboundMessages(database=database, note_lifetime=3600)


@pytest.fixture
def turn(store: TurnTable, database: Database) -> Turn:
    turn = store.insert(Inbound(sid="SM1", sender=USER, kind=Kind.TEXT, received_at=START))
    assert turn
    return begin(database, turn)


@pytest.fixture
def report(delivery_statuses: DeliveryStatuses) -> Report:
    """Makes Twilio call back about a message, with each state in turn."""

    def record(message: OutboundMessage, *states: State, code: int | None = None) -> None:
        for state in states:
            delivery_statuses.record(Status(message.callback, "SM-out", state, code))

    return record


def count_states(metrics: Metrics) -> dict[str, int]:
    names = ("delivered", "read", "undelivered", "failed")
    counters = metrics.snapshot().counters
    return {name: counters[f"messages_{name}"] for name in names if counters[f"messages_{name}"]}


def test_a_status_that_comes_before_the_answer_to_the_send_counts(
    outbound_messages: OutboundMessages, turn: Turn, report: Report, metrics: Metrics
) -> None:
    """Its SID is stored, in case that answer never comes."""
    begun = outbound_messages.begin(turn, "text 1")
    report(begun, State.DELIVERED)
    known = outbound_messages.find(turn, "text 1")
    assert known
    assert known.sid == "SM-out"
    report(begun, State.SENT, State.DELIVERED, State.READ, State.READ)
    assert count_states(metrics) == {"delivered": 1, "read": 1}


def test_statuses_that_come_at_the_same_moment_count_once(
    delivery_statuses: DeliveryStatuses,
    outbound_messages: OutboundMessages,
    turn: Turn,
    metrics: Metrics,
) -> None:
    for number in range(20):
        begun = outbound_messages.begin(turn, f"text {number}")
        status = Status(begun.callback, "SM-out", State.READ, None)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(delivery_statuses.record, [status] * 4))
    assert count_states(metrics) == {"delivered": 20, "read": 20}


def test_a_failure_is_counted_by_its_code_and_logged_without_the_number(
    outbound_messages: OutboundMessages, turn: Turn, report: Report, metrics: Metrics
) -> None:
    begun = outbound_messages.begin(turn, "text 1")
    with capture_logs(processors=[merge_contextvars]) as lines:
        report(begun, *[State.UNDELIVERED] * 3, State.FAILED, code=63016)
    assert count_states(metrics) == {"undelivered": 1}
    assert metrics.snapshot().delivery_errors == {"63016": 1}
    (line,) = lines
    assert re.match(r"Not delivered \(63016\): .*24 h", line["event"])
    assert (line["part"], line["turn"]) == ("text 1", "SM1")
    assert USER.removeprefix("whatsapp:+") not in str(line)


def test_a_failure_is_logged_with_the_hash_of_the_user_and_not_of_the_address(
    outbound_messages: OutboundMessages, store: TurnTable, database: Database, report: Report
) -> None:
    """So that all lines about a user can be found, whether the number is hidden or not."""
    received = Inbound(sid="SM2", sender="whatsapp:US.1", kind=Kind.TEXT, address=USER)
    turn = store.insert(received)
    assert turn
    message = outbound_messages.begin(begin(database, turn), "text 1")
    with capture_logs(processors=[merge_contextvars]) as lines:
        report(message, State.FAILED, code=63016)
    assert [line["sender"] for line in lines] == [hash_sender("whatsapp:US.1", key="key")]


def test_the_status_of_an_unknown_message_changes_nothing(
    delivery_statuses: DeliveryStatuses,
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    metrics: Metrics,
) -> None:
    """Another program may have sent it, or this one with another database."""
    outbound_messages.begin(turn, "text 1")
    delivery_statuses.record(Status("f" * 32, "SM-out", State.FAILED, 63019))
    delivery_statuses.record(Status("", "SM-out", State.READ, None))
    assert count_states(metrics) == {}
    assert resends.claim() is None


def test_statuses_wait_up_to_a_limit_while_the_database_fails(
    delivery_statuses: DeliveryStatuses,
    outbound_messages: OutboundMessages,
    turn: Turn,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are stored as soon as it works again."""
    begun = [outbound_messages.begin(turn, f"text {number}") for number in range(LATE_LIMIT + 1)]
    statuses = [Status(each.callback, "SM-out", State.READ, None) for each in begun]

    def fail(_: object) -> None:
        raise OperationalError("", None, Exception("away"))

    with monkeypatch.context() as broken:
        broken.setattr(delivery_statuses, "_write", fail)
        assert [delivery_statuses.record(status) for status in statuses] == [True] * LATE_LIMIT + [
            False
        ]
        assert count_states(metrics) == {}
    wait_until(lambda: count_states(metrics).get("read") == LATE_LIMIT, "all statuses that waited")
    assert delivery_statuses.record(statuses[-1])
    wait_until(lambda: count_states(metrics)["read"] == LATE_LIMIT + 1, "the last status")


@pytest.mark.parametrize("code", [63019, 63021])
def test_a_voice_note_that_twilio_cannot_use_is_claimed_once(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    report: Report,
    clock: Clock,
    code: int,
) -> None:
    begun = outbound_messages.begin(turn, VOICE, audio=b"OggS")
    report(begun, *[State.UNDELIVERED] * 2, code=code)
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: resends.claim(), range(8)))
    (undelivered,) = filter(None, claims)
    assert (undelivered.part, undelivered.code, undelivered.voice_note_token) == (
        VOICE,
        code,
        begun.voice_note_token,
    )
    assert undelivered.turn.message.sender == USER
    assert resends.begin(undelivered)
    # The second message has a callback address of its own, and is the last attempt.
    again = outbound_messages.find(turn, undelivered.resend_part)
    assert again
    assert again.callback == undelivered.callback != begun.callback
    report(again, State.UNDELIVERED, code=code)
    clock.now += CLAIM_SECONDS
    assert resends.claim() is None


def test_a_message_that_was_claimed_but_not_sent_is_claimed_again_a_minute_later(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    report: Report,
    clock: Clock,
) -> None:
    """Another process may claim it. The first one, if it was only slow, cannot send it then."""
    report(outbound_messages.begin(turn, VOICE, audio=b"OggS"), State.UNDELIVERED, code=63019)
    slow = resends.claim()
    assert slow
    assert resends.claim() is None
    clock.now += CLAIM_SECONDS
    undelivered = resends.claim()
    assert undelivered
    resends.drop(slow)
    assert not resends.begin(slow)
    assert resends.begin(undelivered)
    assert not resends.begin(undelivered)


def test_a_resend_that_surely_failed_is_tried_again(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    report: Report,
    clock: Clock,
) -> None:
    """Unless a status shows that it was sent after all."""
    report(outbound_messages.begin(turn, VOICE, audio=b"OggS"), State.UNDELIVERED, code=63019)
    for sent in (False, True):
        undelivered = resends.claim()
        assert undelivered
        assert resends.begin(undelivered)
        again = outbound_messages.find(turn, undelivered.resend_part)
        assert again
        if sent:
            report(again, State.QUEUED)
        resends.postpone(undelivered)
        assert (outbound_messages.find(turn, undelivered.resend_part) is not None) is sent
        clock.now += CLAIM_SECONDS
    assert resends.claim() is None


@pytest.mark.parametrize("code", [63018, 30500, 63009, 63010, 63012])
@pytest.mark.parametrize("part", ["text 2", VOICE])
def test_after_a_rate_limit_or_an_internal_error_a_part_is_sent_again_a_minute_later(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    report: Report,
    clock: Clock,
    part: str,
    code: int,
) -> None:
    report(outbound_messages.begin(turn, part), State.FAILED, code=code)
    assert resends.claim() is None
    clock.now += RESEND_SECONDS
    undelivered = resends.claim()
    assert isinstance(undelivered, Undelivered)
    assert undelivered.part == part


@pytest.mark.parametrize(
    ("part", "code"),
    [("text 1", 63016), ("text 1", 63019), ("notice", 63018), ("apology", 63018), (VOICE, 63024)]
    + [("notice", 30500), ("text 1 again", 63010), ("text 1", 63014), (VOICE, 63017)]
    + [("text 1", 63032), ("text 1", 63051), ("text 1", 30002), ("text 1", 30007)],
)
def test_a_message_is_not_sent_again_if_that_would_not_help(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    report: Report,
    clock: Clock,
    part: str,
    code: int,
) -> None:
    report(outbound_messages.begin(turn, part), State.UNDELIVERED, code=code)
    clock.now += RESEND_SECONDS
    assert resends.claim() is None


def test_a_message_of_an_old_turn_is_not_sent_again(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    report: Report,
    clock: Clock,
) -> None:
    begun = outbound_messages.begin(turn, VOICE, audio=b"OggS")
    clock.now += STALE_SECONDS
    report(begun, State.UNDELIVERED, code=63019)
    assert resends.claim() is None
