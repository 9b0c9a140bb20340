"""Executes statements and transactions on SQLite or PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any, TypeVar

import structlog
from gevent import Timeout
from gevent.monkey import is_module_patched
from psycopg.errors import UndefinedTable
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Executable,
    Float,
    Row,
    bindparam,
    cast,
    extract,
    func,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as DatabaseTimeout

T = TypeVar("T")

Work = Callable[[Connection], T]
Values = dict[str, Any] | None

# Every method of this package may raise this.
StorageError = SQLAlchemyError

log = structlog.get_logger(__name__)


class Database:
    """Thread-safe.

    With ``one_connection`` (SQLite) all threads share a connection that stays open, because opening
    one takes as long as a statement. Otherwise (PostgreSQL) each call takes a connection from the
    pool, and fails after ``seconds``, even if the server or the network does not respond.
    """

    def __init__(self, engine: Engine, *, one_connection: bool, seconds: float = 0.0) -> None:
        self.engine = engine
        self._one_connection = one_connection
        self._seconds = seconds
        # A transaction around a single statement would cost two more round trips.
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._lock = threading.Lock()
        self._shared_connection: Connection | None = None

    @property
    def upsert(self) -> Callable[..., Any]:
        """The function ``insert`` of this kind of database, which supports ``ON CONFLICT``."""
        return postgresql.insert if self._is_postgres else sqlite.insert

    @property
    def now(self) -> ColumnElement[float]:
        """The time in epoch seconds, as SQL; PostgreSQL's clock is the same for all processes."""
        if self._is_postgres:
            return cast(extract("epoch", func.clock_timestamp()), Float)
        return bindparam(None, callable_=time.time, type_=Float, unique=True)

    def row(self, statement: Executable, values: Values = None) -> Row[Any] | None:
        """The first row of the result. All of these methods raise ``StorageError``."""
        return self._run_single(lambda connection: connection.execute(statement, values).first())

    def rows(self, statement: Executable, values: Values = None) -> Sequence[Row[Any]]:
        """All rows of the result."""
        return self._run_single(lambda connection: connection.execute(statement, values).all())

    def value(self, statement: Executable, values: Values = None) -> Any:
        """The first column of the first row; ``None`` if there is no row."""
        return self._run_single(lambda connection: connection.execute(statement, values).scalar())

    def change(self, statement: Executable, values: Values = None) -> int:
        """Execute a statement; returns how many rows it changed."""
        return self._run_single(lambda connection: connection.execute(statement, values).rowcount)

    def run(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction, which is rolled back if it raises; returns its result."""
        if self._one_connection:
            return self._run_serially(work)
        with self._bounded(), self.engine.begin() as connection:
            return work(connection)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection during the block; each statement is committed at once."""
        with self._single.connect() as connection:
            yield connection

    def open(self, number: int) -> None:
        """Open so many connections now, so that no message waits for it. Failures are ignored."""
        with suppress(SQLAlchemyError), ExitStack() as opened, self._bounded():
            # None is returned before the last one is open; otherwise the pool would reuse it.
            for _ in range(number):
                opened.enter_context(self._single.connect())

    def clear_log(self) -> bool:
        """Empty SQLite's write-ahead log, where deleted texts would survive.

        Returns whether that was possible. PostgreSQL manages its own log.
        """
        if self._is_postgres:
            return True
        # SQLite refuses this within a transaction, so it needs a separate connection.
        with closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError:
                return False
            ((busy, _, _),) = cursor.fetchall()
        return not busy

    def close(self) -> None:
        """Close all connections; later calls open new ones."""
        with self._lock:
            self._disconnect()

    @contextmanager
    def bounded(self, seconds: float) -> Iterator[None]:
        """Raise ``DatabaseTimeout`` if the block takes longer.

        The server has limits too, but its errors do not arrive if the network drops them.
        Only green threads can be interrupted.
        """
        if not is_module_patched("socket"):
            yield
            return
        # SQLAlchemy closes the connection of an interrupted call.
        limit = Timeout.start_new(seconds)
        try:
            yield
        except Timeout as reached:
            if reached is not limit:
                raise
            raise DatabaseTimeout(f"no answer within {seconds:g} s") from None
        finally:
            limit.close()

    @property
    def _is_postgres(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        try:
            with self.bounded(self._seconds):
                yield
        except ProgrammingError as error:
            if isinstance(error.orig, UndefinedTable):
                _end_process()
            raise

    def _run_single(self, work: Work[T]) -> T:
        if self._one_connection:
            return self._run_serially(work)
        with self._bounded(), self._single.connect() as connection:
            return work(connection)

    def _run_serially(self, work: Work[T]) -> T:
        with self._lock:
            try:
                connection = self._shared_connection = (
                    self._shared_connection or self.engine.connect()
                )
                with connection.begin():
                    return work(connection)
            except BaseException:
                # The connection may be in any state, so the next call opens a new one.
                self._disconnect()
                raise

    def _disconnect(self) -> None:
        if self._shared_connection:
            with suppress(SQLAlchemyError):
                self._shared_connection.close()
        self._shared_connection = None
        self.engine.dispose()


def _end_process() -> None:
    """End the process: tables are created at the start only, and the platform starts it again."""
    log.error("The database has lost its tables, or is another one; ending to start anew")
    os._exit(1)
