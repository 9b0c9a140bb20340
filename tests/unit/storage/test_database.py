"""Transactions of many threads on one SQLite connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError

from storage.database import Database
from storage.engine import open_sqlite
from storage.schema import preferences

NAMES = select(preferences.c.sender).order_by(text("rowid"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_sqlite(str(tmp_path))
    yield database
    database.close()


def insert_row(name: str) -> Callable[[Connection], int]:
    row = insert(preferences).values(sender=name, used_at=1.0)
    return lambda connection: connection.execute(row).rowcount


def names(database: Database) -> list[str]:
    return [row.sender for row in database.rows(NAMES)]


def test_many_threads_share_the_database(database: Database) -> None:
    wanted = [f"{number:03}" for number in range(200)]
    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(lambda name: database.run(insert_row(name)), wanted))
    assert done == [1] * len(wanted)
    assert sorted(names(database)) == wanted


def test_a_failed_transaction_is_rolled_back_and_later_ones_work(database: Database) -> None:
    database.run(insert_row("ana"))
    with pytest.raises(IntegrityError):
        database.run(
            lambda connection: insert_row("ben")(connection) + insert_row("ana")(connection)
        )
    database.run(insert_row("eve"))
    assert names(database) == ["ana", "eve"]


def test_close_waits_for_running_transactions_and_the_database_reopens_when_used(
    database: Database,
) -> None:
    """A webhook may come while the process stops."""
    begun, released = threading.Event(), threading.Event()

    def add_slowly(connection: Connection) -> int:
        begun.set()
        assert released.wait(10)
        return insert_row("ana")(connection)

    with ThreadPoolExecutor(3) as pool:
        slow = pool.submit(database.run, add_slowly)
        assert begun.wait(10)
        closing = pool.submit(database.close)
        later = pool.submit(database.run, insert_row("ben"))
        released.set()
        assert slow.result() == later.result() == 1
        closing.result()
    assert names(database) == ["ana", "ben"]
