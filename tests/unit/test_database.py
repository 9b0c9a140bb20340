"""Work of many threads on one connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, Insert, event, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from database import MOST_TOGETHER, Database, Rank
from opening import open_sqlite
from schema import preferences

NAMES = select(preferences.c.sender).order_by(text("rowid"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_sqlite(str(tmp_path))
    yield database
    database.close()


@pytest.fixture
def commits(database: Database) -> list[None]:
    """One for each."""
    seen: list[None] = []
    event.listen(database.engine, "commit", lambda _: seen.append(None))
    return seen


class Busy:
    """A piece of work that holds the connection, and others that wait behind it."""

    def __init__(
        self, database: Database, pool: ThreadPoolExecutor, arrivals: threading.Semaphore
    ) -> None:
        self._database = database
        self._pool = pool
        self._arrivals = arrivals
        self._begun, self._released = threading.Event(), threading.Event()
        self._first = pool.submit(database.run, self._hold)
        self._begun.wait()
        arrivals.acquire()

    def wait_behind(
        self, work: Callable[[Connection], int], rank: Rank = Rank.ANSWER
    ) -> Future[int]:
        """Submit work; returns once it waits."""
        future = self._pool.submit(lambda: self._database.run(work, rank))
        self._arrivals.acquire()
        return future

    def release(self) -> None:
        self._released.set()
        self._first.result()

    def _hold(self, connection: Connection) -> int:
        self._begun.set()
        self._released.wait()
        return connection.execute(_adding("first")).rowcount


@pytest.fixture
def busy(database: Database, arrivals: threading.Semaphore) -> Iterator[Busy]:
    with ThreadPoolExecutor(20) as pool:
        busy = Busy(database, pool, arrivals)
        try:
            yield busy
        finally:
            busy.release()


def _adding(name: str) -> Insert:
    return insert(preferences).values(sender=name, used_at=1.0)


def adding(name: str) -> Callable[[Connection], int]:
    return lambda connection: connection.execute(_adding(name)).rowcount


def names(database: Database) -> list[str]:
    return [row.sender for row in database.rows(NAMES)]


def test_what_waits_is_done_in_few_transactions_in_order(
    database: Database, busy: Busy, commits: list[None]
) -> None:
    wanted = [f"{number}" for number in range(2 * MOST_TOGETHER)]
    waiting = [busy.wait_behind(adding(name)) for name in wanted]
    busy.release()
    assert [future.result() for future in waiting] == [1] * len(wanted)
    assert len(commits) == 3
    assert names(database) == ["first", *wanted]


def test_messages_come_first_then_answers(database: Database, busy: Busy) -> None:
    waiting = [
        busy.wait_behind(adding("rest 1"), Rank.REST),
        busy.wait_behind(adding("answer 1")),
        busy.wait_behind(adding("message 1"), Rank.MESSAGE),
        busy.wait_behind(adding("rest 2"), Rank.REST),
        busy.wait_behind(adding("answer 2")),
        busy.wait_behind(adding("message 2"), Rank.MESSAGE),
    ]
    busy.release()
    for future in waiting:
        future.result()
    kinds = ("message", "answer", "rest")
    wanted = [f"{kind} {number}" for kind in kinds for number in (1, 2)]
    assert names(database) == ["first", *wanted]


def test_what_fails_takes_nothing_else_along(database: Database, busy: Busy) -> None:
    good = busy.wait_behind(adding("ana"))
    bad = busy.wait_behind(lambda connection: adding("ben")(connection) + adding("ana")(connection))
    later = busy.wait_behind(adding("eve"))
    busy.release()
    with pytest.raises(IntegrityError):
        bad.result()
    assert (good.result(), later.result()) == (1, 1)
    assert names(database) == ["first", "ana", "eve"]


def test_a_database_that_fails_does_so_for_all_that_waits(
    database: Database, busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[None] = []

    def fail(_: Connection) -> int:
        tries.append(None)
        raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    waiting = [busy.wait_behind(fail) for _ in range(MOST_TOGETHER)]
    busy.release()
    for future in waiting:
        with pytest.raises(OperationalError):
            future.result()
    # None is tried by itself: each might take as long as the database is given.
    assert len(tries) == 1
    assert database.run(adding("afterwards")) == 1
