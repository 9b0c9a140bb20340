"""Opening the database, brought to the current schema.

By default one SQLite file in ``STATE_DIR``, held by one process; with ``DATABASE_URL`` a
PostgreSQL database, shared by many.
"""

from __future__ import annotations

import fcntl
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import alembic.command
import alembic.config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from core.errors import SettingsError
from storage.database import Database

MIGRATIONS = Path(__file__).with_name("migrations")
FILE_NAME = "bridge.sqlite3"
# For nobody else on the machine.
FOLDER_MODE, FILE_MODE = 0o700, 0o600

# How long a statement waits for another program that holds the file; all threads wait along.
BUSY_SECONDS = 2
# A little longer than gunicorn.conf.py lets the turns of a stopping process run.
LOCK_SECONDS = 28.0
POLL_SECONDS = 0.1

# A server that restarts, or is full while old processes end, is back by then.
CONNECT_SECONDS = 30.0
# Whoever holds something in the database is taken for gone after 12 s (storage/turn_queue.py). By
# then nothing that it began may hold up others, and it must know itself.
CALL_SECONDS = 9.0
# Any number, so long as nobody else uses it in this database.
MIGRATION_LOCK = 4216803


def open_sqlite(state_dir: str) -> Database:
    """The file in ``state_dir``.

    SQLite takes one writer at a time, so all threads share one connection: where there were
    several, they would poll for the file's lock. Raises ``SettingsError``.
    """
    with _usable(state_dir) as folder:
        engine = create_engine(
            URL.create("sqlite", database=str(folder / FILE_NAME)),
            # Its errors would quote what people said.
            hide_parameters=True,
            # ``Database`` keeps its own.
            poolclass=NullPool,
            connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
        )
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        _keep_private(folder)
        with engine.begin() as connection:
            _upgrade(connection)
        database = Database(engine, one_connection=True)
        # A process that was killed has left one.
        database.clear_log()
    return database


def open_postgres(url: str, *, connections: int, patience: float = CONNECT_SECONDS) -> Database:
    """The database at ``url``, at most ``connections`` times. Raises ``SettingsError``."""
    again = Retrying(
        retry=retry_if_exception_type(OperationalError),
        stop=stop_after_delay(patience),
        wait=wait_fixed(POLL_SECONDS),
        reraise=True,
    )
    # Changing tables takes its time, and waits for the process that changes them.
    unhurried = _postgres_engine(url, connections=1, seconds=0)
    try:
        again(_migrate_postgres, unhurried)
    except (SQLAlchemyError, CommandError) as error:
        raise SettingsError(
            f"Cannot start: the database of DATABASE_URL cannot be used ({_reason(error)})."
        ) from error
    finally:
        unhurried.dispose()
    return connect_postgres(url, connections=connections)


def connect_postgres(
    url: str, *, connections: int, ping: bool = True, seconds: float = CALL_SECONDS
) -> Database:
    """The same for a database that was opened before; no call takes longer than ``seconds``.

    Without ``ping`` a connection is not asked whether it still is one before it is used, which
    would take as long as a statement; whoever uses it must be able to try again.
    """
    engine = _postgres_engine(url, connections=connections, seconds=seconds, ping=ping)
    return Database(engine, one_connection=False, seconds=seconds)


def _postgres_engine(url: str, *, connections: int, seconds: float, ping: bool = True) -> Engine:
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        # What a burst does not need opens no connection.
        pool_use_lifo=True,
        pool_pre_ping=ping,
        connect_args=_limits(seconds),
    )


def _limits(seconds: float) -> dict[str, object]:
    """What bounds a session, on both sides; without ``seconds`` only the way to the server.

    A side that the other one vanished for must not keep a transaction, and what it locks, open.
    """
    milliseconds = int(seconds * 1000)
    server = {
        # The server ends it before we would give up waiting.
        "statement_timeout": milliseconds * 8 // 9,
        "lock_timeout": milliseconds * 6 // 9,
        "idle_in_transaction_session_timeout": milliseconds * 8 // 9,
        "tcp_keepalives_idle": 3,
        "tcp_keepalives_interval": 2,
        "tcp_keepalives_count": 2,
        "tcp_user_timeout": 7000,
    }
    return {
        "connect_timeout": 3,
        "keepalives_idle": 3,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": 7000,
        "options": " ".join(f"-c {name}={value}" for name, value in server.items()),
    }


def lock_state_dir(state_dir: str, *, patience: float = LOCK_SECONDS) -> IO[str]:
    """Keep other processes out of ``state_dir`` until the returned file is closed, or we end.

    A process that is being replaced finishes its turns first, so there is some patience. Raises
    ``SettingsError``.
    """
    with _usable(state_dir) as folder:
        file = (folder / "lock").open("w")
        Path(file.name).chmod(FILE_MODE)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"Cannot start: another process uses STATE_DIR {state_dir!r}."
                ) from None
            time.sleep(POLL_SECONDS)
        else:
            return file


@contextmanager
def _usable(state_dir: str) -> Iterator[Path]:
    """The folder, made if need be; what is wrong with it becomes a ``SettingsError``."""
    folder = Path(state_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        if folder.stat().st_mode & stat.S_ISVTX:
            raise SettingsError(
                f"Cannot start: STATE_DIR {state_dir!r} is a folder that everybody shares; "
                "name one that is for this service alone."
            )
        folder.chmod(FOLDER_MODE)
        yield folder
    except (OSError, SQLAlchemyError, CommandError) as error:
        raise SettingsError(
            f"Cannot start: STATE_DIR {state_dir!r} cannot hold the database ({_reason(error)})."
        ) from error


def _keep_private(folder: Path) -> None:
    """Let nobody else read the database; what SQLite adds to its file gets the same mode."""
    (folder / FILE_NAME).touch()
    for file in folder.glob(f"{FILE_NAME}*"):
        file.chmod(FILE_MODE)


def _reason(error: Exception) -> str:
    """What the system or the database said, on one line, without SQLAlchemy's paragraphs."""
    if isinstance(error, CommandError):
        return f"its tables are those of a newer release, deploy that one: {error}"
    said = getattr(error, "strerror", None) or getattr(error, "orig", None) or error
    return f"{type(error).__name__}: {' '.join(str(said).split())}"


def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """A write-ahead log survives a killed process at a fraction of a full sync's cost.

    What is deleted is overwritten.
    """
    # The driver would begin transactions for some statements and not for others, such as those that
    # change tables.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # Beside SQLAlchemy, whose way would cost as much as the statement that follows.
    cast(sqlite3.Connection, connection.connection.driver_connection).execute("BEGIN")


def _migrate_postgres(engine: Engine) -> None:
    with engine.begin() as connection:
        # Processes that start together migrate one after the other.
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    """All the way or not at all, wherever the process is killed."""
    config = alembic.config.Config()
    # A percent sign would be taken for the name of another option.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")
