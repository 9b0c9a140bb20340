"""What a process may do with its turns while it cannot reach the database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from core.deadline import Deadline
from core.errors import DeadlineExceeded, TurnSuperseded
from core.models import Inbound, Kind, Turn
from storage import claims as storage_claims
from storage.claims import SAFE_SECONDS, Claims
from storage.database import Database, StorageError
from storage.turn_queue import CLAIM_SECONDS, TurnQueue
from storage.turns import TurnTable
from tests.unit.conftest import Clock


class UnreliableQueue(TurnQueue):
    """A queue whose claims cannot be renewed while it is ``unreachable``."""

    unreachable = False

    def renew(self, claims: object) -> set[int]:
        if self.unreachable:
            raise OperationalError("UPDATE", {}, Exception("no route"))
        return super().renew(claims)  # type: ignore[arg-type]


@pytest.fixture
def queue(database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> UnreliableQueue:
    clock.install(monkeypatch, storage_claims)
    monkeypatch.setattr(storage_claims, "LOOK_SECONDS", 0.001)
    return UnreliableQueue(database=database, single_process=False)


@pytest.fixture
def claims(queue: UnreliableQueue) -> Claims:
    return Claims(queue=queue, renewals=queue)


@pytest.fixture
def turn(database: Database, claims: Claims) -> Turn:
    TurnTable(database=database).insert(Inbound(sid="SM1", sender="ana", kind=Kind.TEXT))
    (turn,) = claims.claim_turns(5)
    return turn


def test_a_turn_can_be_confirmed_while_its_claim_is_renewed(
    claims: Claims, turn: Turn, clock: Clock
) -> None:
    for _ in range(5):
        clock.now += SAFE_SECONDS - 1
        claims.confirm(turn)
        claims.renew()


def test_confirming_waits_until_the_database_is_reachable_again(
    claims: Claims, queue: UnreliableQueue, turn: Turn, clock: Clock
) -> None:
    queue.unreachable = True
    clock.now += SAFE_SECONDS
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(StorageError):
                claims.renew()
    assert [(line["log_level"], line["turns"]) for line in lines] == [("error", 1)]
    with ThreadPoolExecutor(1) as pool:
        confirmed = pool.submit(claims.confirm, turn)
        with pytest.raises(TimeoutError):
            confirmed.result(0.05)
        queue.unreachable = False
        claims.renew()
        confirmed.result(5)


def test_confirming_fails_if_another_process_took_the_turn_meanwhile(
    claims: Claims, queue: UnreliableQueue, turn: Turn, clock: Clock
) -> None:
    clock.now += CLAIM_SECONDS + 1
    (theirs,) = queue.claim(5)
    with ThreadPoolExecutor(1) as pool:
        confirmed = pool.submit(claims.confirm, turn)
        claims.renew()
        with pytest.raises(TurnSuperseded):
            confirmed.result(5)
    claims.release(turn)
    assert queue.renew({str(theirs.claim)}) == {theirs.id}


def test_a_process_that_returns_before_anybody_took_its_turns_keeps_them(
    claims: Claims, turn: Turn, clock: Clock
) -> None:
    """It does not take its own turns for those of a dead process."""
    clock.now += CLAIM_SECONDS * 2
    assert claims.claim_turns(5) == []
    claims.confirm(turn)


def test_confirming_waits_no_longer_than_the_deadline(
    claims: Claims, turn: Turn, clock: Clock
) -> None:
    clock.now += SAFE_SECONDS
    with Deadline(0.01).applied(), pytest.raises(DeadlineExceeded):
        claims.confirm(turn)


def test_a_forgotten_turn_cannot_be_confirmed(claims: Claims, turn: Turn) -> None:
    """As after the turn was given up while a thread still works on it."""
    claims.forget(turn)
    with pytest.raises(TurnSuperseded):
        claims.confirm(turn)
    with pytest.raises(TurnSuperseded):
        claims.mark_asked(turn)


@pytest.mark.parametrize(("asked", "attempts"), [(False, 1), (True, 2)])
def test_release_all_counts_attempts_only_of_turns_that_asked_the_agent(
    claims: Claims, queue: UnreliableQueue, turn: Turn, asked: bool, attempts: int
) -> None:
    if asked:
        claims.mark_asked(turn)
    claims.release_all()
    claims.release_all()
    assert [each.attempts for each in queue.claim(5)] == [attempts]


def test_a_single_process_never_loses_its_claims(database: Database, clock: Clock) -> None:
    TurnTable(database=database).insert(Inbound(sid="SM1", sender="ana", kind=Kind.TEXT))
    queue = TurnQueue(database=database, single_process=True)
    claims = Claims(queue=queue, renewals=queue)
    (turn,) = claims.claim_turns(1)
    clock.now += CLAIM_SECONDS * 9
    claims.confirm(turn)
