"""What became of what was sent: merged, counted, and claimed for a second try."""

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
from storage.database import Database
from storage.outbound_messages import VOICE, OutboundMessage, OutboundMessages
from storage.store import STALE_SECONDS, Store
from tests.sandbox.waiting import wait_until
from tests.unit.conftest import START, USER, Clock, begin
from whatsapp import delivery_status as receipts_module
from whatsapp.delivery_status import CLAIM_SECONDS, LIMIT_SECONDS, DeliveryStatuses, Undelivered
from whatsapp.status_callbacks import State, Status

# Were each to wait for its next attempt, this would take longer than the test does.
LATE_LIMIT = 50

Tell = Callable[..., None]


@pytest.fixture
def receipts(
    database: Database, metrics: Metrics, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> DeliveryStatuses:
    monkeypatch.setattr(receipts_module, "time", SimpleNamespace(time=clock))
    monkeypatch.setattr(receipts_module, "LATE_LIMIT", LATE_LIMIT)
    return DeliveryStatuses(database=database, metrics=metrics, log_key="key")


@pytest.fixture
def store(database: Database, clock: Clock) -> Store:
    return Store(database=database)


@pytest.fixture
def sendings(database: Database, clock: Clock) -> OutboundMessages:
    return OutboundMessages(database=database, note_lifetime=3600)


@pytest.fixture
def turn(store: Store, database: Database) -> Turn:
    turn = store.admit(Inbound(sid="SM1", sender=USER, kind=Kind.TEXT, received_at=START))
    assert turn
    return begin(database, turn)


@pytest.fixture
def tell(receipts: DeliveryStatuses) -> Tell:
    """Twilio calls back about a sending."""

    def take(sending: OutboundMessage, *states: State, code: int | None = None) -> None:
        for state in states:
            receipts.take(Status(sending.callback, "SM-out", state, code))

    return take


def counted(metrics: Metrics) -> dict[str, int]:
    names = ("delivered", "read", "undelivered", "failed")
    counters = metrics.figures().counters
    return {name: counters[f"messages_{name}"] for name in names if counters[f"messages_{name}"]}


def test_a_callback_that_comes_before_our_answer_counts(
    sendings: OutboundMessages, turn: Turn, tell: Tell, metrics: Metrics
) -> None:
    """It also says which message it was, in case the answer never comes."""
    begun = sendings.begin(turn, "text 1")
    tell(begun, State.DELIVERED)
    known = sendings.known(turn, "text 1")
    assert known
    assert known.sid == "SM-out"
    tell(begun, State.SENT, State.DELIVERED, State.READ, State.READ)
    assert counted(metrics) == {"delivered": 1, "read": 1}


def test_callbacks_at_the_same_moment_count_once(
    receipts: DeliveryStatuses, sendings: OutboundMessages, turn: Turn, metrics: Metrics
) -> None:
    for number in range(20):
        begun = sendings.begin(turn, f"text {number}")
        status = Status(begun.callback, "SM-out", State.READ, None)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(receipts.take, [status] * 4))
    assert counted(metrics) == {"delivered": 20, "read": 20}


def test_a_failure_is_counted_by_its_code_and_told_without_the_number(
    sendings: OutboundMessages, turn: Turn, tell: Tell, metrics: Metrics
) -> None:
    begun = sendings.begin(turn, "text 1")
    with capture_logs(processors=[merge_contextvars]) as lines:
        tell(begun, *[State.UNDELIVERED] * 3, State.FAILED, code=63016)
    assert counted(metrics) == {"undelivered": 1}
    assert metrics.figures().delivery_errors == {"63016": 1}
    (line,) = lines
    assert re.match(r"Not delivered \(63016\): .*24 h", line["event"])
    assert (line["part"], line["turn"]) == ("text 1", "SM1")
    assert USER.removeprefix("whatsapp:+") not in str(line)


def test_a_status_of_nobody_knows_what_changes_nothing(
    receipts: DeliveryStatuses, sendings: OutboundMessages, turn: Turn, metrics: Metrics
) -> None:
    """A message of another app, or of a database that is gone."""
    sendings.begin(turn, "text 1")
    receipts.take(Status("f" * 32, "SM-out", State.FAILED, 63019))
    receipts.take(Status("", "SM-out", State.READ, None))
    assert counted(metrics) == {}
    assert receipts.claim() is None


def test_a_failing_database_keeps_callbacks_waiting_up_to_a_limit(
    receipts: DeliveryStatuses,
    sendings: OutboundMessages,
    turn: Turn,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once it is back they are written without further waiting."""
    begun = [sendings.begin(turn, f"text {number}") for number in range(LATE_LIMIT + 1)]
    statuses = [Status(each.callback, "SM-out", State.READ, None) for each in begun]

    def fail(_: object) -> None:
        raise OperationalError("", None, Exception("away"))

    with monkeypatch.context() as broken:
        broken.setattr(receipts, "_write", fail)
        assert [receipts.take(status) for status in statuses] == [True] * LATE_LIMIT + [False]
        assert counted(metrics) == {}
    wait_until(lambda: counted(metrics).get("read") == LATE_LIMIT, "all that waited")
    assert receipts.take(statuses[-1])
    wait_until(lambda: counted(metrics)["read"] == LATE_LIMIT + 1, "the one that found no place")


@pytest.mark.parametrize("code", [63019, 63021])
def test_a_voice_note_that_twilio_cannot_use_is_claimed_once(
    receipts: DeliveryStatuses,
    sendings: OutboundMessages,
    turn: Turn,
    tell: Tell,
    clock: Clock,
    code: int,
) -> None:
    begun = sendings.begin(turn, VOICE, audio=b"OggS")
    tell(begun, *[State.UNDELIVERED] * 2, code=code)
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: receipts.claim(), range(8)))
    (lost,) = filter(None, claims)
    assert (lost.part, lost.code, lost.note) == (VOICE, code, begun.note)
    assert lost.turn.message.sender == USER
    assert receipts.begin(lost)
    # What is sent in its place has callbacks of its own, and is the last attempt.
    again = sendings.known(turn, lost.again)
    assert again
    assert again.callback == lost.callback != begun.callback
    tell(again, State.UNDELIVERED, code=code)
    clock.now += CLAIM_SECONDS
    assert receipts.claim() is None


def test_what_was_claimed_and_not_begun_is_claimed_again_a_minute_later(
    receipts: DeliveryStatuses, sendings: OutboundMessages, turn: Turn, tell: Tell, clock: Clock
) -> None:
    """By whichever process; the first, if it was only slow, is too late then."""
    tell(sendings.begin(turn, VOICE, audio=b"OggS"), State.UNDELIVERED, code=63019)
    slow = receipts.claim()
    assert slow
    assert receipts.claim() is None
    clock.now += CLAIM_SECONDS
    lost = receipts.claim()
    assert lost
    receipts.let_go(slow)
    assert not receipts.begin(slow)
    assert receipts.begin(lost)
    assert not receipts.begin(lost)


def test_what_was_begun_in_vain_can_be_given_back(
    receipts: DeliveryStatuses, sendings: OutboundMessages, turn: Turn, tell: Tell, clock: Clock
) -> None:
    """Unless a callback says that it was sent."""
    tell(sendings.begin(turn, VOICE, audio=b"OggS"), State.UNDELIVERED, code=63019)
    for sent in (False, True):
        lost = receipts.claim()
        assert lost
        assert receipts.begin(lost)
        again = sendings.known(turn, lost.again)
        assert again
        if sent:
            tell(again, State.QUEUED)
        receipts.give_back(lost)
        assert (sendings.known(turn, lost.again) is not None) is sent
        clock.now += CLAIM_SECONDS
    assert receipts.claim() is None


@pytest.mark.parametrize("part", ["text 2", VOICE])
def test_what_met_a_limit_is_claimed_a_minute_later(
    receipts: DeliveryStatuses,
    sendings: OutboundMessages,
    turn: Turn,
    tell: Tell,
    clock: Clock,
    part: str,
) -> None:
    tell(sendings.begin(turn, part), State.FAILED, code=63018)
    assert receipts.claim() is None
    clock.now += LIMIT_SECONDS
    lost = receipts.claim()
    assert isinstance(lost, Undelivered)
    assert lost.part == part


@pytest.mark.parametrize(
    ("part", "code"),
    [("text 1", 63016), ("text 1", 63019), ("notice", 63018), ("apology", 63018), (VOICE, 63024)],
)
def test_what_would_not_help_is_not_sent_again(
    receipts: DeliveryStatuses,
    sendings: OutboundMessages,
    turn: Turn,
    tell: Tell,
    clock: Clock,
    part: str,
    code: int,
) -> None:
    tell(sendings.begin(turn, part), State.UNDELIVERED, code=code)
    clock.now += LIMIT_SECONDS
    assert receipts.claim() is None


def test_nothing_of_a_turn_long_ago_is_sent_again(
    receipts: DeliveryStatuses, sendings: OutboundMessages, turn: Turn, tell: Tell, clock: Clock
) -> None:
    begun = sendings.begin(turn, VOICE, audio=b"OggS")
    clock.now += STALE_SECONDS
    tell(begun, State.UNDELIVERED, code=63019)
    assert receipts.claim() is None
