"""What a process may still do that cannot know whether others have taken its turns."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from core.deadline import Deadline
from core.errors import DeadlineExceeded, TurnSuperseded
from core.models import Inbound, Kind, Turn
from storage import claims as claims_module
from storage.claims import SURE_SECONDS, Claims
from storage.database import Database, StorageError
from storage.turn_queue import CLAIM_SECONDS, TurnQueue
from storage.turns import TurnTable
from tests.unit.conftest import Clock


class Unreliable(TurnQueue):
    """Cannot be reached while it is ``away``."""

    away = False

    def renew(self, claims: object) -> set[int]:
        if self.away:
            raise OperationalError("UPDATE", {}, Exception("no route"))
        return super().renew(claims)  # type: ignore[arg-type]


@pytest.fixture
def queue(database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Unreliable:
    monkeypatch.setattr(claims_module, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(claims_module, "LOOK_SECONDS", 0.001)
    return Unreliable(database=database, single_process=False)


@pytest.fixture
def claims(queue: Unreliable) -> Claims:
    return Claims(queue=queue, renewals=queue)


@pytest.fixture
def turn(database: Database, claims: Claims) -> Turn:
    TurnTable(database=database).insert(Inbound(sid="SM1", sender="ana", kind=Kind.TEXT))
    (turn,) = claims.claim_turns(5)
    return turn


def test_a_turn_is_surely_ours_while_it_is_renewed(
    claims: Claims, turn: Turn, clock: Clock
) -> None:
    for _ in range(5):
        clock.now += SURE_SECONDS - 1
        claims.confirm(turn)
        claims.renew()


def test_who_is_cut_off_waits_until_the_turn_is_surely_ours_again(
    claims: Claims, queue: Unreliable, turn: Turn, clock: Clock
) -> None:
    queue.away = True
    clock.now += SURE_SECONDS
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(StorageError):
                claims.renew()
    assert [(line["log_level"], line["turns"]) for line in lines] == [("error", 1)]
    with ThreadPoolExecutor(1) as pool:
        confirmed = pool.submit(claims.confirm, turn)
        with pytest.raises(TimeoutError):
            confirmed.result(0.05)
        queue.away = False
        claims.renew()
        confirmed.result(5)


def test_who_is_cut_off_learns_that_another_has_the_turn(
    claims: Claims, queue: Unreliable, turn: Turn, clock: Clock
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


def test_who_comes_back_first_goes_on_with_what_is_its_own(
    claims: Claims, turn: Turn, clock: Clock
) -> None:
    """It does not take its own turn for one of somebody who is gone."""
    clock.now += CLAIM_SECONDS * 2
    assert claims.claim_turns(5) == []
    claims.confirm(turn)


def test_nobody_waits_longer_than_a_deadline_allows(
    claims: Claims, turn: Turn, clock: Clock
) -> None:
    clock.now += SURE_SECONDS
    with Deadline(0.01).applied(), pytest.raises(DeadlineExceeded):
        claims.confirm(turn)


def test_a_turn_that_was_dropped_is_ours_no_more(claims: Claims, turn: Turn) -> None:
    """As one of which the answer was given up, while a thread still works on it."""
    claims.forget(turn)
    with pytest.raises(TurnSuperseded):
        claims.confirm(turn)
    with pytest.raises(TurnSuperseded):
        claims.mark_asked(turn)


@pytest.mark.parametrize(("asked", "attempts"), [(False, 1), (True, 2)])
def test_giving_all_back_counts_the_question_that_was_asked(
    claims: Claims, queue: Unreliable, turn: Turn, asked: bool, attempts: int
) -> None:
    if asked:
        claims.mark_asked(turn)
    claims.release_all()
    claims.release_all()
    assert [each.attempts for each in queue.claim(5)] == [attempts]


def test_a_process_that_is_alone_is_always_sure(database: Database, clock: Clock) -> None:
    TurnTable(database=database).insert(Inbound(sid="SM1", sender="ana", kind=Kind.TEXT))
    queue = TurnQueue(database=database, single_process=True)
    claims = Claims(queue=queue, renewals=queue)
    (turn,) = claims.claim_turns(1)
    clock.now += CLAIM_SECONDS * 9
    claims.confirm(turn)
