"""A first start may be killed at any statement; the next one goes on."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from core.models import Inbound, Kind
from sandbox.postgres import Postgres
from storage import engine as storage_engine
from storage.engine import open_postgres, open_sqlite
from storage.turn_queue import TurnQueue
from storage.turns import TurnTable
from tests.e2e.killed_start import killed_start

# A first start takes at least this many, which create the tables.
STATEMENTS = 30
MESSAGE = Inbound(sid="SM1", sender="ana", kind=Kind.TEXT)


def test_a_first_start_on_sqlite_may_be_killed_at_any_statement(tmp_path: Path) -> None:
    for number in count():
        folder = tmp_path / str(number)
        killed = killed_start(str(folder), number)
        database = open_sqlite(str(folder))
        assert TurnTable(database=database).insert(MESSAGE)
        database.close()
        if not killed:
            break
    assert number > STATEMENTS


def test_repeatedly_killed_starts_on_sqlite_finish_at_last(tmp_path: Path) -> None:
    """Each is killed one statement later than the one before."""
    for number in count():
        if not killed_start(str(tmp_path), number):
            break
    database = open_sqlite(str(tmp_path))
    assert TurnTable(database=database).insert(MESSAGE)
    database.close()


def test_a_migration_of_an_older_file_may_be_killed_at_any_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file keeps a turn that ran when the former release was stopped."""
    older = tmp_path / "older"
    shutil.copytree(storage_engine.MIGRATIONS, tmp_path / "migrations")
    for newer in ("0005_claims.py", "0006_user_ids.py", "0007_history.py"):
        (tmp_path / "migrations" / "versions" / newer).unlink()
    with monkeypatch.context() as former:
        former.setattr(storage_engine, "MIGRATIONS", tmp_path / "migrations")
        open_sqlite(str(older)).close()
    with closing(sqlite3.connect(older / storage_engine.FILE_NAME)) as file, file:
        file.execute(
            "INSERT INTO turns (message_sid, sender, kind, text, media_url, received_at, state,"
            " attempts, claim) VALUES ('SM1', 'ana', 'text', '', '', 1, 'running', 1, 'former')"
        )
    for number in count():
        folder = tmp_path / str(number)
        shutil.copytree(older, folder)
        killed = killed_start(str(folder), number)
        database = open_sqlite(str(folder))
        queue = TurnQueue(database=database, single_process=True)
        assert queue.requeue_running() == 1
        assert [turn.attempts for turn in queue.claim(1)] == [2]
        database.close()
        if not killed:
            break
    assert number > 5


def test_a_first_start_on_postgresql_may_be_killed_at_any_statement(each_server: Postgres) -> None:
    for number in count(step=7):
        url = each_server.database("killed")
        killed = killed_start(url, number)
        database = open_postgres(url, connections=1)
        assert TurnTable(database=database).insert(MESSAGE)
        database.close()
        if not killed:
            break
    assert number > STATEMENTS
