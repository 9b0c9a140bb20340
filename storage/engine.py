"""Opens the database and migrates it to the current schema.

By default this is an SQLite file in ``STATE_DIR``, for one process; with ``DATABASE_URL`` it is a
PostgreSQL database that several processes share.
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
from core.redaction import describe_database_error
from storage.database import Database

MIGRATIONS = Path(__file__).with_name("migrations")
FILE_NAME = "bridge.sqlite3"
# No other user of the machine may read the database.
FOLDER_MODE, FILE_MODE = 0o700, 0o600

# How long a statement waits for another program that locks the file. All threads wait meanwhile.
BUSY_SECONDS = 2
# A little longer than the running turns of a stopping process may take (gunicorn.conf.py).
LOCK_SECONDS = 28.0
POLL_SECONDS = 0.1

# How long the start waits for a server that restarts, or has no free connection.
CONNECT_SECONDS = 30.0
# A process that does not renew its claims for 12 s is considered dead (storage/turn_queue.py). By
# then none of its statements may still run, and its own calls must have failed.
CALL_SECONDS = 9.0
# Any number that nobody else uses for advisory locks in this database.
MIGRATION_LOCK = 4216803


def open_sqlite(state_dir: str) -> Database:
    """Open the file in ``state_dir``, and migrate it. Raises ``SettingsError``.

    SQLite allows one writer at a time, so all threads share one connection. Several connections
    would poll for the lock on the file.
    """
    with _open_folder(state_dir) as folder:
        engine = create_engine(
            URL.create("sqlite", database=str(folder / FILE_NAME)),
            # Otherwise errors would quote messages of users.
            hide_parameters=True,
            # ``Database`` keeps its connection itself.
            poolclass=NullPool,
            connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
        )
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        _keep_private(folder)
        with engine.begin() as connection:
            _upgrade(connection)
        database = Database(engine, one_connection=True)
        # A killed process leaves a write-ahead log.
        database.clear_log()
    return database


def open_postgres(url: str, *, connections: int, wait_seconds: float = CONNECT_SECONDS) -> Database:
    """Open and migrate the database at ``url``, with a pool of ``connections``.

    Waits up to ``wait_seconds`` for the server. Raises ``SettingsError``.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(OperationalError),
        stop=stop_after_delay(wait_seconds),
        wait=wait_fixed(POLL_SECONDS),
        reraise=True,
    )
    # Migrations may take long, and wait for another process that migrates.
    unlimited = _postgres_engine(url, connections=1, seconds=0)
    try:
        retrying(_migrate_postgres, unlimited)
    except (SQLAlchemyError, CommandError) as error:
        raise SettingsError(
            f"the database of DATABASE_URL cannot be used ({_reason(error)})"
        ) from error
    finally:
        unlimited.dispose()
    return connect_postgres(url, connections=connections)


def connect_postgres(
    url: str, *, connections: int, ping: bool = True, seconds: float = CALL_SECONDS
) -> Database:
    """Open a database that is migrated already; calls fail after ``seconds``.

    With ``ping`` each connection is tested before it is used, which takes as long as a statement.
    Without it the caller must try again when a connection is broken.
    """
    engine = _postgres_engine(url, connections=connections, seconds=seconds, ping=ping)
    return Database(engine, one_connection=False, seconds=seconds)


def _postgres_engine(url: str, *, connections: int, seconds: float, ping: bool = True) -> Engine:
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        # The most recently used connection first, so that no more are opened than needed.
        pool_use_lifo=True,
        pool_pre_ping=ping,
        connect_args=_limits(seconds),
    )


def _limits(seconds: float) -> dict[str, object]:
    """Limits for a session on both sides; with 0 ``seconds`` only those of the network.

    If one side vanishes, the other one must not keep a transaction and its locks open.
    """
    milliseconds = int(seconds * 1000)
    server = {
        # Shorter than our own limit, so that the server ends it first.
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


def lock_state_dir(state_dir: str, *, wait_seconds: float = LOCK_SECONDS) -> IO[str]:
    """Lock ``state_dir`` until the returned file is closed, or the process ends.

    Waits up to ``wait_seconds``, because a process that is replaced finishes its turns first.
    Raises ``SettingsError``.
    """
    with _open_folder(state_dir) as folder:
        file = (folder / "lock").open("w")
        Path(file.name).chmod(FILE_MODE)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SettingsError(f"another process uses STATE_DIR {state_dir!r}") from None
            time.sleep(POLL_SECONDS)
        else:
            return file


@contextmanager
def _open_folder(state_dir: str) -> Iterator[Path]:
    """The folder, created if needed; raises ``SettingsError`` if it cannot be used."""
    folder = Path(state_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        if folder.stat().st_mode & stat.S_ISVTX:
            raise SettingsError(
                f"STATE_DIR {state_dir!r} is a folder that everybody shares",
                hint="name one that is for this service alone",
            )
        folder.chmod(FOLDER_MODE)
        yield folder
    except (OSError, SQLAlchemyError, CommandError) as error:
        raise SettingsError(
            f"STATE_DIR {state_dir!r} cannot hold the database ({_reason(error)})"
        ) from error


def _keep_private(folder: Path) -> None:
    """Let no other user read the database. Files that SQLite adds get the same mode."""
    (folder / FILE_NAME).touch()
    for file in folder.glob(f"{FILE_NAME}*"):
        file.chmod(FILE_MODE)


def _reason(error: Exception) -> str:
    """The error of the system or the database on one line, without SQLAlchemy's explanations."""
    if isinstance(error, CommandError):
        return f"its tables are those of a newer release, deploy that one: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    cause = describe_database_error(getattr(error, "orig", None) or error)
    return f"{type(error).__name__}: {' '.join(cause.split())}"


def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Set up a new SQLite connection.

    With a write-ahead log, commits survive a killed process without a full sync. Deleted rows are
    overwritten.
    """
    # We begin transactions ourselves: the driver does it for some statements only, and not for
    # those that change tables.
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
    # Not by SQLAlchemy, which takes as long for it as for the next statement.
    cast(sqlite3.Connection, connection.connection.driver_connection).execute("BEGIN")


def _migrate_postgres(engine: Engine) -> None:
    with engine.begin() as connection:
        # Processes that start together migrate one after the other.
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    """Migrate to the newest schema, completely or not at all, even if the process is killed."""
    config = alembic.config.Config()
    # In alembic's options, a percent sign begins the name of another option.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")
