"""Claims of turns by processes that work, die or lose the database; in all kinds of database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from core.errors import TurnSuperseded
from core.models import Answer, Backlog, Inbound, Kind, Turn
from storage.database import Database
from storage.turn_queue import CLAIM_SECONDS, TurnQueue
from storage.turns import TurnTable
from tests.unit.conftest import Clock, empty

ANSWER = Answer("Hello", None)


@pytest.fixture
def database(opened: Database) -> Database:
    """An empty database of each kind and version."""
    return empty(opened)


@pytest.fixture
def store(database: Database, clock: Clock) -> TurnTable:
    return TurnTable(database=database)


@pytest.fixture
def queue(database: Database, clock: Clock) -> TurnQueue:
    """The queue of one of several processes."""
    return TurnQueue(database=database, single_process=False)


def admit(store: TurnTable, *senders: str) -> list[Turn]:
    """Admit a message of each sender, in that order."""
    made = []
    for number, sender in enumerate(senders):
        turn = store.insert(Inbound(sid=f"SM{number}", sender=sender, kind=Kind.TEXT))
        assert turn
        made.append(turn)
    return made


def ids(turns: list[Turn]) -> list[int]:
    return [turn.id for turn in turns]


def test_the_oldest_of_each_sender_is_claimed_and_its_start_counted(
    store: TurnTable, queue: TurnQueue
) -> None:
    ana, _, ben, _, zoe = admit(store, "ana", "ana", "ben", "ben", "zoe")
    first, second = queue.claim(2)
    assert ids([first, second]) == ids([ana, ben])
    assert first == replace(ana, attempts=1, claim=first.claim)
    assert ids(queue.claim(5)) == [zoe.id]
    assert queue.claim(5) == []
    assert store.backlog().running == 3


def test_the_next_of_a_sender_is_free_once_the_one_before_is_done(
    store: TurnTable, queue: TurnQueue
) -> None:
    _, second = admit(store, "ana", "ana")
    (first,) = queue.claim(5)
    store.finish(first)
    assert ids(queue.claim(5)) == [second.id]


def test_threads_that_claim_at_the_same_time_get_different_turns(
    store: TurnTable, queue: TurnQueue
) -> None:
    made = admit(store, *(f"sender {number % 20}" for number in range(40)))
    with ThreadPoolExecutor(8) as pool:
        claimed = [
            turn for turns in pool.map(lambda _: queue.claim(3), range(30)) for turn in turns
        ]
    assert sorted(ids(claimed)) == ids(made[:20])


def test_a_renewed_claim_lasts(store: TurnTable, queue: TurnQueue, clock: Clock) -> None:
    admit(store, "ana")
    (turn,) = queue.claim(1)
    for _ in range(3):
        clock.now += CLAIM_SECONDS - 1
        assert queue.renew({str(turn.claim)}) == {turn.id}
    assert queue.claim(1) == []


def test_a_process_that_does_not_renew_loses_the_turn(
    store: TurnTable, queue: TurnQueue, clock: Clock
) -> None:
    """Whatever the former owner still does, the turn of the new one is not changed."""
    admit(store, "ana", "ana")
    (ours,) = queue.claim(5)
    clock.now += CLAIM_SECONDS + 1
    (theirs,) = queue.claim(5)
    assert (theirs.id, theirs.attempts) == (ours.id, 2)
    assert queue.renew({str(ours.claim)}) == set()
    queue.release([ours], asked=[])
    with pytest.raises(TurnSuperseded):
        store.save_answer(ours, ANSWER)
    with pytest.raises(TurnSuperseded):
        store.finish(ours)
    assert queue.claim(5) == []
    assert store.backlog() == Backlog(1, 1, store.backlog().oldest)
    store.finish(theirs)


def test_an_expired_claim_that_nobody_took_can_still_be_renewed(
    store: TurnTable, queue: TurnQueue, clock: Clock
) -> None:
    admit(store, "ana")
    (turn,) = queue.claim(1)
    clock.now += CLAIM_SECONDS * 9
    assert queue.renew({str(turn.claim)}) == {turn.id}
    assert queue.claim(1) == []


@pytest.mark.parametrize(
    ("asked", "answered", "counted"), [(False, False, 0), (True, False, 1), (True, True, 0)]
)
def test_a_released_turn_counts_an_attempt_if_its_question_got_no_answer(
    store: TurnTable, queue: TurnQueue, asked: bool, answered: bool, counted: int
) -> None:
    admit(store, "ana")
    (turn,) = queue.claim(1)
    if answered:
        store.save_answer(turn, ANSWER)
    # Releasing twice has no further effect.
    for _ in range(2):
        queue.release([turn], asked=[turn.id] if asked else [])
    (again,) = queue.claim(1)
    assert again.attempts == counted + 1


def test_claims_of_a_single_process_do_not_expire(
    database: Database, store: TurnTable, clock: Clock
) -> None:
    admit(store, "ana", "ben")
    queue = TurnQueue(database=database, single_process=True)
    (turn,) = queue.claim(1)
    clock.now += CLAIM_SECONDS * 9
    (other,) = queue.claim(5)
    assert other.id != turn.id
    assert queue.requeue_running() == 2
    assert ids(queue.claim(5)) == [turn.id, other.id]


def test_a_sender_has_one_turn_at_a_time_though_an_older_message_shows_up_late(
    database: Database, store: TurnTable, queue: TurnQueue
) -> None:
    """Ids are assigned before their rows are committed, so rows may show up out of order."""
    late, ours = admit(store, "ana", "ana")
    (first,) = queue.claim(1)
    store.finish(first)
    (second,) = queue.claim(1)
    assert second.id == ours.id
    database.run(
        lambda connection: connection.exec_driver_sql(
            f"UPDATE turns SET state = 'waiting' WHERE id = {late.id}"
        )
    )
    assert queue.claim(1) == []
    store.finish(second)
    assert ids(queue.claim(1)) == [late.id]
