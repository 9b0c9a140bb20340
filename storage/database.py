"""Work on the database, each piece whole or not at all."""

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

# What every method of this package may raise.
StorageError = SQLAlchemyError

log = structlog.get_logger(__name__)


class Database:
    """Thread-safe.

    With ``one_connection`` that is kept, for a statement takes no longer than getting one from the
    engine, and whoever else asks waits. Otherwise no call takes longer than ``seconds``, whatever
    became of the server or the way to it.
    """

    def __init__(self, engine: Engine, *, one_connection: bool, seconds: float = 0.0) -> None:
        self.engine = engine
        self._one_connection = one_connection
        self._seconds = seconds
        # A transaction around a single statement would cost two more ways to the server.
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._lock = threading.Lock()
        self._kept: Connection | None = None

    @property
    def upsert(self) -> Callable[..., Any]:
        """The ``INSERT`` that can say ``ON CONFLICT``, which each kind of database has its own."""
        return postgresql.insert if self._is_postgres else sqlite.insert

    @property
    def now(self) -> ColumnElement[float]:
        """The time (epoch seconds), as SQL: of the server's clock where several processes ask."""
        if self._is_postgres:
            return cast(extract("epoch", func.clock_timestamp()), Float)
        return bindparam(None, callable_=time.time, type_=Float, unique=True)

    def row(self, statement: Executable, values: Values = None) -> Row[Any] | None:
        """The first row that a statement gives. All of these raise ``StorageError``."""
        return self._run_single(lambda connection: connection.execute(statement, values).first())

    def rows(self, statement: Executable, values: Values = None) -> Sequence[Row[Any]]:
        return self._run_single(lambda connection: connection.execute(statement, values).all())

    def value(self, statement: Executable, values: Values = None) -> Any:
        """The first column of the first row; ``None`` where there is none."""
        return self._run_single(lambda connection: connection.execute(statement, values).scalar())

    def change(self, statement: Executable, values: Values = None) -> int:
        """How many rows a statement changed."""
        return self._run_single(lambda connection: connection.execute(statement, values).rowcount)

    def run(self, work: Work[T]) -> T:
        """What ``work`` returns; what it wrote is committed by then, or nothing if it raises."""
        if self._one_connection:
            return self._run_alone(work)
        with self._bounded(), self.engine.begin() as connection:
            return work(connection)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for as long as the block lasts; each statement is a transaction."""
        with self._single.connect() as connection:
            yield connection

    def open(self, number: int) -> None:
        """Open so many connections, as far as they can be: later that would hold somebody up."""
        with suppress(SQLAlchemyError), ExitStack() as opened, self._bounded():
            # None is given back before all are there, or all would be the same.
            for _ in range(number):
                opened.enter_context(self._single.connect())

    def clear_log(self) -> bool:
        """Move what SQLite wrote beside its file into it; whether all could be moved.

        In the write-ahead log old texts outlive the rows that they stood in. PostgreSQL's is the
        server's.
        """
        if self._is_postgres:
            return True
        # Within a transaction it is refused, so not on the kept connection.
        with closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError:
                return False
            ((busy, _, _),) = cursor.fetchall()
        return not busy

    def close(self) -> None:
        """Let go of the connections; whoever asks again opens new ones."""
        with self._lock:
            self._let_go()

    @contextmanager
    def bounded(self, seconds: float) -> Iterator[None]:
        """Raise ``DatabaseTimeout`` where the block takes longer.

        The server's own limits do not reach us where the way to it swallows what it says. Only
        green threads can be interrupted.
        """
        if not is_module_patched("socket"):
            yield
            return
        # SQLAlchemy closes the connection of whoever is interrupted like that.
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
            return self._run_alone(work)
        with self._bounded(), self._single.connect() as connection:
            return work(connection)

    def _run_alone(self, work: Work[T]) -> T:
        with self._lock:
            try:
                connection = self._kept = self._kept or self.engine.connect()
                with connection.begin():
                    return work(connection)
            except BaseException:
                # Whatever state it is in: one that is new has nothing left over.
                self._let_go()
                raise

    def _let_go(self) -> None:
        if self._kept:
            with suppress(SQLAlchemyError):
                self._kept.close()
        self._kept = None
        self.engine.dispose()


def _end_process() -> None:
    """A start makes the tables; until then nothing can go on."""
    log.error("The database has lost its tables, or is another one; ending to start anew")
    os._exit(1)
