"""Opens the database in a process that is killed after a given statement."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable
from itertools import count
from typing import Any

from sqlalchemy import Engine, event

from storage.engine import open_postgres, open_sqlite

# Forks of a server process that has imported everything start within milliseconds.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.e2e.killed_start"])


def killed_start(address: str, statements: int) -> bool:
    """Open the database and kill the process after ``statements``; ``False`` if it took fewer.

    ``address`` is the folder of a SQLite file or the URL of a PostgreSQL database. The first call
    takes seconds, because it starts the fork server.
    """
    process = _processes.Process(target=_start, args=(address, statements))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def _start(address: str, statements: int) -> None:
    die = _die_after(statements)
    if address.startswith("postgresql:"):
        event.listen(Engine, "before_cursor_execute", lambda *_: die())
        event.listen(Engine, "commit", lambda *_: die())
        open_postgres(address, connections=1)
    else:
        # The driver's trace includes transactions and pragmas.
        _trace(die)
        open_sqlite(address)


def _die_after(statements: int) -> Callable[[], None]:
    numbers = count()

    def die() -> None:
        if next(numbers) == statements:
            os.kill(os.getpid(), signal.SIGKILL)

    return die


def _trace(die: Callable[[], None]) -> None:
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(lambda _: die())
        return connection

    # The driver's functions, as SQLAlchemy finds them.
    vars(sqlite3.dbapi2)["connect"] = traced
