"""A first start may be killed at any statement; the next one goes on."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from inbound import Inbound, Kind
from opening import open_postgres, open_sqlite
from sandbox.postgres import Postgres
from store import Store
from tests.e2e.killed_start import killed_start

# At least those that make the tables.
STATEMENTS = 30
MESSAGE = Inbound(sid="SM1", sender="ana", kind=Kind.TEXT)


def test_a_first_start_on_a_file(tmp_path: Path) -> None:
    for number in count():
        folder = tmp_path / str(number)
        killed = killed_start(str(folder), number)
        database = open_sqlite(str(folder))
        assert Store(database=database).admit(MESSAGE)
        database.close()
        if not killed:
            break
    assert number > STATEMENTS


def test_starts_on_a_file_that_are_killed_one_after_the_other(tmp_path: Path) -> None:
    """Each a little later."""
    for number in count():
        if not killed_start(str(tmp_path), number):
            break
    database = open_sqlite(str(tmp_path))
    assert Store(database=database).admit(MESSAGE)
    database.close()


def test_a_first_start_on_a_server(each_server: Postgres) -> None:
    for number in count(step=7):
        url = each_server.database("killed")
        killed = killed_start(url, number)
        database = open_postgres(url, connections=1)
        assert Store(database=database).admit(MESSAGE)
        database.close()
        if not killed:
            break
    assert number > STATEMENTS
