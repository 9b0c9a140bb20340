"""Work of many threads on one connection."""

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


def adding(name: str) -> Callable[[Connection], int]:
    row = insert(preferences).values(sender=name, used_at=1.0)
    return lambda connection: connection.execute(row).rowcount


def names(database: Database) -> list[str]:
    return [row.sender for row in database.rows(NAMES)]


def test_many_threads_share_it(database: Database) -> None:
    wanted = [f"{number:03}" for number in range(200)]
    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(lambda name: database.run(adding(name)), wanted))
    assert done == [1] * len(wanted)
    assert sorted(names(database)) == wanted


def test_what_fails_leaves_nothing_and_harms_nobody(database: Database) -> None:
    database.run(adding("ana"))
    with pytest.raises(IntegrityError):
        database.run(lambda connection: adding("ben")(connection) + adding("ana")(connection))
    database.run(adding("eve"))
    assert names(database) == ["ana", "eve"]


def test_closing_waits_for_what_is_under_way_and_is_no_end(database: Database) -> None:
    """A webhook may come while a process stops."""
    begun, released = threading.Event(), threading.Event()

    def add_slowly(connection: Connection) -> int:
        begun.set()
        assert released.wait(10)
        return adding("ana")(connection)

    with ThreadPoolExecutor(3) as pool:
        slow = pool.submit(database.run, add_slowly)
        assert begun.wait(10)
        closing = pool.submit(database.close)
        later = pool.submit(database.run, adding("ben"))
        released.set()
        assert slow.result() == later.result() == 1
        closing.result()
    assert names(database) == ["ana", "ben"]
