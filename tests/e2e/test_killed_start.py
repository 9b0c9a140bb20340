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
from storage import engine as opening
from storage.engine import open_postgres, open_sqlite
from storage.turn_queue import TurnQueue
from storage.turns import TurnTable
from tests.e2e.killed_start import killed_start

# At least those that make the tables.
STATEMENTS = 30
MESSAGE = Inbound(sid="SM1", sender="ana", kind=Kind.TEXT)


def test_a_first_start_on_a_file(tmp_path: Path) -> None:
    for number in count():
        folder = tmp_path / str(number)
        killed = killed_start(str(folder), number)
        database = open_sqlite(str(folder))
        assert TurnTable(database=database).insert(MESSAGE)
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
    assert TurnTable(database=database).insert(MESSAGE)
    database.close()


def test_a_start_that_brings_an_older_file_to_the_current_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds is still there: a turn that ran when the former release was stopped."""
    older = tmp_path / "older"
    shutil.copytree(opening.MIGRATIONS, tmp_path / "migrations")
    for newer in ("0005_claims.py", "0006_user_ids.py"):
        (tmp_path / "migrations" / "versions" / newer).unlink()
    with monkeypatch.context() as former:
        former.setattr(opening, "MIGRATIONS", tmp_path / "migrations")
        open_sqlite(str(older)).close()
    with closing(sqlite3.connect(older / opening.FILE_NAME)) as file, file:
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
        assert queue.release_all() == 1
        assert [turn.attempts for turn in queue.claim(1)] == [2]
        database.close()
        if not killed:
            break
    assert number > 5


def test_a_first_start_on_a_server(each_server: Postgres) -> None:
    for number in count(step=7):
        url = each_server.database("killed")
        killed = killed_start(url, number)
        database = open_postgres(url, connections=1)
        assert TurnTable(database=database).insert(MESSAGE)
        database.close()
        if not killed:
            break
    assert number > STATEMENTS
