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

# Were each to wait for its next attempt, this would take longer than the test does.
LATE_LIMIT = 50

Tell = Callable[..., None]


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
def tell(delivery_statuses: DeliveryStatuses) -> Tell:
    """Twilio calls back about a sending."""

    def take(sending: OutboundMessage, *states: State, code: int | None = None) -> None:
        for state in states:
            delivery_statuses.record(Status(sending.callback, "SM-out", state, code))

    return take


def counted(metrics: Metrics) -> dict[str, int]:
    names = ("delivered", "read", "undelivered", "failed")
    counters = metrics.snapshot().counters
    return {name: counters[f"messages_{name}"] for name in names if counters[f"messages_{name}"]}


def test_a_callback_that_comes_before_our_answer_counts(
    outbound_messages: OutboundMessages, turn: Turn, tell: Tell, metrics: Metrics
) -> None:
    """It also says which message it was, in case the answer never comes."""
    begun = outbound_messages.begin(turn, "text 1")
    tell(begun, State.DELIVERED)
    known = outbound_messages.find(turn, "text 1")
    assert known
    assert known.sid == "SM-out"
    tell(begun, State.SENT, State.DELIVERED, State.READ, State.READ)
    assert counted(metrics) == {"delivered": 1, "read": 1}


def test_callbacks_at_the_same_moment_count_once(
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
    assert counted(metrics) == {"delivered": 20, "read": 20}


def test_a_failure_is_counted_by_its_code_and_told_without_the_number(
    outbound_messages: OutboundMessages, turn: Turn, tell: Tell, metrics: Metrics
) -> None:
    begun = outbound_messages.begin(turn, "text 1")
    with capture_logs(processors=[merge_contextvars]) as lines:
        tell(begun, *[State.UNDELIVERED] * 3, State.FAILED, code=63016)
    assert counted(metrics) == {"undelivered": 1}
    assert metrics.snapshot().delivery_errors == {"63016": 1}
    (line,) = lines
    assert re.match(r"Not delivered \(63016\): .*24 h", line["event"])
    assert (line["part"], line["turn"]) == ("text 1", "SM1")
    assert USER.removeprefix("whatsapp:+") not in str(line)


def test_a_status_of_nobody_knows_what_changes_nothing(
    delivery_statuses: DeliveryStatuses,
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    metrics: Metrics,
) -> None:
    """A message of another app, or of a database that is gone."""
    outbound_messages.begin(turn, "text 1")
    delivery_statuses.record(Status("f" * 32, "SM-out", State.FAILED, 63019))
    delivery_statuses.record(Status("", "SM-out", State.READ, None))
    assert counted(metrics) == {}
    assert resends.claim() is None


def test_a_failing_database_keeps_callbacks_waiting_up_to_a_limit(
    delivery_statuses: DeliveryStatuses,
    outbound_messages: OutboundMessages,
    turn: Turn,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it is back they are written without further waiting."""
    begun = [outbound_messages.begin(turn, f"text {number}") for number in range(LATE_LIMIT + 1)]
    statuses = [Status(each.callback, "SM-out", State.READ, None) for each in begun]

    def fail(_: object) -> None:
        raise OperationalError("", None, Exception("away"))

    with monkeypatch.context() as broken:
        broken.setattr(delivery_statuses, "_write", fail)
        assert [delivery_statuses.record(status) for status in statuses] == [True] * LATE_LIMIT + [
            False
        ]
        assert counted(metrics) == {}
    wait_until(lambda: counted(metrics).get("read") == LATE_LIMIT, "all that waited")
    assert delivery_statuses.record(statuses[-1])
    wait_until(lambda: counted(metrics)["read"] == LATE_LIMIT + 1, "the one that found no place")


@pytest.mark.parametrize("code", [63019, 63021])
def test_a_voice_note_that_twilio_cannot_use_is_claimed_once(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    tell: Tell,
    clock: Clock,
    code: int,
) -> None:
    begun = outbound_messages.begin(turn, VOICE, audio=b"OggS")
    tell(begun, *[State.UNDELIVERED] * 2, code=code)
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: resends.claim(), range(8)))
    (lost,) = filter(None, claims)
    assert (lost.part, lost.code, lost.voice_note_token) == (VOICE, code, begun.voice_note_token)
    assert lost.turn.message.sender == USER
    assert resends.begin(lost)
    # What is sent in its place has callbacks of its own, and is the last attempt.
    again = outbound_messages.find(turn, lost.resend_part)
    assert again
    assert again.callback == lost.callback != begun.callback
    tell(again, State.UNDELIVERED, code=code)
    clock.now += CLAIM_SECONDS
    assert resends.claim() is None


def test_what_was_claimed_and_not_begun_is_claimed_again_a_minute_later(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    tell: Tell,
    clock: Clock,
) -> None:
    """By whichever process; the first, if it was only slow, is too late then."""
    tell(outbound_messages.begin(turn, VOICE, audio=b"OggS"), State.UNDELIVERED, code=63019)
    slow = resends.claim()
    assert slow
    assert resends.claim() is None
    clock.now += CLAIM_SECONDS
    lost = resends.claim()
    assert lost
    resends.drop(slow)
    assert not resends.begin(slow)
    assert resends.begin(lost)
    assert not resends.begin(lost)


def test_what_was_begun_in_vain_can_be_given_back(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    tell: Tell,
    clock: Clock,
) -> None:
    """Unless a callback says that it was sent."""
    tell(outbound_messages.begin(turn, VOICE, audio=b"OggS"), State.UNDELIVERED, code=63019)
    for sent in (False, True):
        lost = resends.claim()
        assert lost
        assert resends.begin(lost)
        again = outbound_messages.find(turn, lost.resend_part)
        assert again
        if sent:
            tell(again, State.QUEUED)
        resends.postpone(lost)
        assert (outbound_messages.find(turn, lost.resend_part) is not None) is sent
        clock.now += CLAIM_SECONDS
    assert resends.claim() is None


@pytest.mark.parametrize("code", [63018, 30500, 63009, 63010, 63012])
@pytest.mark.parametrize("part", ["text 2", VOICE])
def test_after_a_rate_limit_or_an_internal_error_a_part_is_sent_again_a_minute_later(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    tell: Tell,
    clock: Clock,
    part: str,
    code: int,
) -> None:
    tell(outbound_messages.begin(turn, part), State.FAILED, code=code)
    assert resends.claim() is None
    clock.now += RESEND_SECONDS
    lost = resends.claim()
    assert isinstance(lost, Undelivered)
    assert lost.part == part


@pytest.mark.parametrize(
    ("part", "code"),
    [("text 1", 63016), ("text 1", 63019), ("notice", 63018), ("apology", 63018), (VOICE, 63024)]
    + [("notice", 30500), ("text 1 again", 63010), ("text 1", 63014), (VOICE, 63017)]
    + [("text 1", 63032), ("text 1", 63051), ("text 1", 30002), ("text 1", 30007)],
)
def test_what_would_not_help_is_not_sent_again(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    tell: Tell,
    clock: Clock,
    part: str,
    code: int,
) -> None:
    tell(outbound_messages.begin(turn, part), State.UNDELIVERED, code=code)
    clock.now += RESEND_SECONDS
    assert resends.claim() is None


def test_nothing_of_a_turn_long_ago_is_sent_again(
    resends: ResendQueue,
    outbound_messages: OutboundMessages,
    turn: Turn,
    tell: Tell,
    clock: Clock,
) -> None:
    begun = outbound_messages.begin(turn, VOICE, audio=b"OggS")
    clock.now += STALE_SECONDS
    tell(begun, State.UNDELIVERED, code=63019)
    assert resends.claim() is None
