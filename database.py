"""Work on the database, each piece whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, Row, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

T = TypeVar("T")

Work = Callable[[Connection], T]
Values = dict[str, Any] | None


class Database:
    """Thread-safe.

    With ``one_connection`` that is kept, for a statement takes no longer than getting one from the
    engine, and whoever else asks waits.
    """

    def __init__(self, engine: Engine, *, one_connection: bool) -> None:
        self.engine = engine
        self._one_connection = one_connection
        self._lock = threading.Lock()
        self._kept: Connection | None = None

    @property
    def upsert(self) -> Callable[..., Any]:
        """The ``INSERT`` that can say ``ON CONFLICT``, which each kind of database has its own."""
        return postgresql.insert if self.engine.dialect.name == "postgresql" else sqlite.insert

    def row(self, statement: Executable, values: Values = None) -> Row[Any] | None:
        """The first row that a statement gives. All of these raise ``StoreError``."""
        return self.run(lambda connection: connection.execute(statement, values).first())

    def rows(self, statement: Executable, values: Values = None) -> Sequence[Row[Any]]:
        return self.run(lambda connection: connection.execute(statement, values).all())

    def value(self, statement: Executable, values: Values = None) -> Any:
        """The first column of the first row; ``None`` where there is none."""
        return self.run(lambda connection: connection.execute(statement, values).scalar())

    def change(self, statement: Executable, values: Values = None) -> int:
        """How many rows a statement changed."""
        return self.run(lambda connection: connection.execute(statement, values).rowcount)

    def run(self, work: Work[T]) -> T:
        """What ``work`` returns; what it wrote is on disk by then, or nothing if it raises."""
        if self._one_connection:
            with self._lock:
                return self._run_alone(work)
        with self.engine.begin() as connection:
            return work(connection)

    def clear_log(self) -> bool:
        """Move what SQLite wrote beside its file into it; whether all could be moved.

        In the write-ahead log old texts outlive the rows that they stood in. PostgreSQL's is the
        server's. Raises ``StoreError``.
        """
        if self.engine.dialect.name != "sqlite":
            return True
        # On a connection of its own: within a transaction it is refused.
        with self.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            busy = alone.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).scalar()
        return busy == 0

    def close(self) -> None:
        """Let go of the connections; whoever asks again opens new ones."""
        with self._lock:
            self._let_go()

    def _run_alone(self, work: Work[T]) -> T:
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
