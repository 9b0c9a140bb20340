"""Who holds a turn, whatever becomes of who held it before; in both kinds of database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from core.errors import TurnSuperseded
from core.models import Answer, Backlog, Inbound, Kind, Turn
from sandbox.postgres import Postgres
from sandbox.postgres_programs import Programs, installed_servers
from storage.database import Database
from storage.engine import open_postgres, open_sqlite
from storage.store import Store
from storage.turn_queue import CLAIM_SECONDS, TurnQueue
from tests.unit.conftest import Clock, empty

ANSWER = Answer("Hello", None)


KINDS = [None, *installed_servers()]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name if kind else "sqlite")
def opened(
    request: pytest.FixtureRequest,
    servers: Callable[[Programs], Postgres],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Database]:
    if request.param:
        database = open_postgres(servers(request.param).database("queue"), connections=4)
    else:
        database = open_sqlite(str(tmp_path_factory.mktemp("queue")))
    yield database
    database.close()


@pytest.fixture
def database(opened: Database) -> Database:
    """Of each kind and version, with no rows."""
    return empty(opened)


@pytest.fixture
def store(database: Database, clock: Clock) -> Store:
    return Store(database=database)


@pytest.fixture
def queue(database: Database, clock: Clock) -> TurnQueue:
    """That of one of several processes."""
    return TurnQueue(database=database, single_process=False)


def put(store: Store, *senders: str) -> list[Turn]:
    """A message of each of them, in that order."""
    made = []
    for number, sender in enumerate(senders):
        turn = store.admit(Inbound(sid=f"SM{number}", sender=sender, kind=Kind.TEXT))
        assert turn
        made.append(turn)
    return made


def ids(turns: list[Turn]) -> list[int]:
    return [turn.id for turn in turns]


def test_the_oldest_of_each_sender_is_claimed_and_its_start_counted(
    store: Store, queue: TurnQueue
) -> None:
    ana, _, ben, _, zoe = put(store, "ana", "ana", "ben", "ben", "zoe")
    first, second = queue.claim(2)
    assert ids([first, second]) == ids([ana, ben])
    assert first == replace(ana, attempts=1, claim=first.claim)
    assert ids(queue.claim(5)) == [zoe.id]
    assert queue.claim(5) == []
    assert store.backlog().running == 3


def test_the_next_of_a_sender_is_free_once_the_one_before_is_done(
    store: Store, queue: TurnQueue
) -> None:
    _, second = put(store, "ana", "ana")
    (first,) = queue.claim(5)
    store.finish(first)
    assert ids(queue.claim(5)) == [second.id]


def test_of_many_that_claim_at_once_each_turn_has_one(store: Store, queue: TurnQueue) -> None:
    made = put(store, *(f"sender {number % 20}" for number in range(40)))
    with ThreadPoolExecutor(8) as pool:
        claimed = [
            turn for turns in pool.map(lambda _: queue.claim(3), range(30)) for turn in turns
        ]
    assert sorted(ids(claimed)) == ids(made[:20])


def test_what_is_renewed_stays_ours(store: Store, queue: TurnQueue, clock: Clock) -> None:
    put(store, "ana")
    (turn,) = queue.claim(1)
    for _ in range(3):
        clock.now += CLAIM_SECONDS - 1
        assert queue.renew({str(turn.claim)}) == {turn.id}
    assert queue.claim(1) == []


def test_who_does_not_renew_loses_the_turn_and_changes_it_no_more(
    store: Store, queue: TurnQueue, clock: Clock
) -> None:
    """Whatever a process that was taken for gone still does, its successor is not touched."""
    put(store, "ana", "ana")
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


def test_a_claim_that_nobody_took_is_renewed_however_late(
    store: Store, queue: TurnQueue, clock: Clock
) -> None:
    put(store, "ana")
    (turn,) = queue.claim(1)
    clock.now += CLAIM_SECONDS * 9
    assert queue.renew({str(turn.claim)}) == {turn.id}
    assert queue.claim(1) == []


@pytest.mark.parametrize(
    ("asked", "answered", "counted"), [(False, False, 0), (True, False, 1), (True, True, 0)]
)
def test_a_turn_that_is_given_back_counts_as_begun_if_the_agent_was_asked_in_vain(
    store: Store, queue: TurnQueue, asked: bool, answered: bool, counted: int
) -> None:
    put(store, "ana")
    (turn,) = queue.claim(1)
    if answered:
        store.save_answer(turn, ANSWER)
    # The second time says nothing new.
    for _ in range(2):
        queue.release([turn], asked=[turn.id] if asked else [])
    (again,) = queue.claim(1)
    assert again.attempts == counted + 1


def test_what_a_process_that_is_alone_claims_is_its_own_until_it_dies(
    database: Database, store: Store, clock: Clock
) -> None:
    put(store, "ana", "ben")
    queue = TurnQueue(database=database, single_process=True)
    (turn,) = queue.claim(1)
    clock.now += CLAIM_SECONDS * 9
    (other,) = queue.claim(5)
    assert other.id != turn.id
    assert queue.release_all() == 2
    assert ids(queue.claim(5)) == [turn.id, other.id]


def test_a_sender_has_one_turn_at_a_time_though_an_older_message_shows_up_late(
    database: Database, store: Store, queue: TurnQueue
) -> None:
    """An id is given before what has it is committed; and nothing but the table decides."""
    late, ours = put(store, "ana", "ana")
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
