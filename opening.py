"""Opening the database, brought to the current schema.

By default one SQLite file in ``STATE_DIR``, held by one process; with ``DATABASE_URL`` a
PostgreSQL database, shared by many.
"""

from __future__ import annotations

import fcntl
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import alembic.command
import alembic.config
from alembic.util import CommandError
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from database import Database
from errors import SettingsError
from settings import Settings

MIGRATIONS = Path(__file__).with_name("migrations")
FILE_NAME = "bridge.sqlite3"
# For nobody else on the machine.
FOLDER_MODE, FILE_MODE = 0o700, 0o600

# How long a statement waits for another process that holds the file.
BUSY_SECONDS = 10
# A little longer than gunicorn.conf.py lets the turns of a stopping process run.
HOLD_SECONDS = 28.0
POLL_SECONDS = 0.1

# A server that restarts, or is full while old processes end, is back by then.
CONNECT_SECONDS = 30.0
# For libpq: a server that vanishes is noticed, and no statement waits for ever.
POSTGRES_OPTIONS = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "options": "-c statement_timeout=20s -c lock_timeout=10s",
}
# Any number, so long as nobody else uses it in this database.
MIGRATION_LOCK = 4216803


def open_database(settings: Settings) -> Database:
    """The database that the settings name. Raises ``SettingsError``."""
    if settings.DATABASE_URL:
        return open_postgres(settings.DATABASE_URL, connections=settings.DATABASE_CONNECTIONS)
    return open_sqlite(settings.STATE_DIR)


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
        _keep_private(folder)
        _migrate(engine)
        database = Database(engine, one_connection=True)
        # A process that was killed has left one.
        database.clear_log()
    return database


def open_postgres(url: str, *, connections: int, patience: float = CONNECT_SECONDS) -> Database:
    """The database at ``url``, at most ``connections`` times. Raises ``SettingsError``."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        # What a burst does not need opens no connection.
        pool_use_lifo=True,
        pool_pre_ping=True,
        connect_args=POSTGRES_OPTIONS,
    )
    again = Retrying(
        retry=retry_if_exception_type(OperationalError),
        stop=stop_after_delay(patience),
        wait=wait_fixed(POLL_SECONDS),
        reraise=True,
    )
    try:
        again(_migrate, engine)
    except (SQLAlchemyError, CommandError) as error:
        raise SettingsError(
            f"Cannot start: the database of DATABASE_URL cannot be used ({_reason(error)})."
        ) from error
    return Database(engine, one_connection=False)


def hold(state_dir: str, *, patience: float = HOLD_SECONDS) -> IO[str]:
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
    said = getattr(error, "strerror", None) or getattr(error, "orig", None) or error
    return f"{type(error).__name__}: {' '.join(str(said).split())}"


def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """A write-ahead log survives a killed process at a fraction of a full sync's cost.

    What is deleted is overwritten.
    """
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _migrate(engine: Engine) -> None:
    config = alembic.config.Config()
    # A percent sign would be taken for the name of another option.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Processes that start together migrate one after the other.
            connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")
