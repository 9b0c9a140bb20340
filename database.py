"""Work on the database, each piece whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import IntEnum
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, Executable, Row, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from together import Together

T = TypeVar("T")

Work = Callable[[Connection], T]
Values = dict[str, Any] | None

# Of what waits for the one connection, done in one transaction. More would take less of the CPU,
# but whatever is urgent waits for all of it.
MOST_TOGETHER = 4


class Rank(IntEnum):
    """Who waits: Twilio with a message, Twilio with less, a sender for words, or nobody."""

    MESSAGE = 0
    CALLBACK = 1
    ANSWER = 2
    REST = 3


class Database:
    """Thread-safe. What waits in line does so by its rank.

    With ``one_connection`` that is kept, for a statement takes no longer than getting one from the
    engine; and work of threads that wait for it is done in one transaction: a commit takes as long
    as several statements, and handing the connection from thread to thread longer than either where
    many want the interpreter's lock.
    """

    def __init__(self, engine: Engine, *, one_connection: bool) -> None:
        self.engine = engine
        self._kept: Connection | None = None
        self._together: Together[Work[Any], Any] | None = None
        if one_connection:
            # A database that fails does so for each.
            self._together = Together(
                self._transact, most=MOST_TOGETHER, any_would=(OperationalError,)
            )

    @property
    def upsert(self) -> Callable[..., Any]:
        """The ``INSERT`` that can say ``ON CONFLICT``, which each kind of database has its own."""
        return postgresql.insert if self.engine.dialect.name == "postgresql" else sqlite.insert

    def row(self, statement: Executable, values: Values = None) -> Row[Any] | None:
        """The first row that a statement gives. All of these raise ``StoreError``."""
        return self.run(lambda connection: connection.execute(statement, values).first())

    def rows(self, statement: Executable, values: Values = None) -> Sequence[Row[Any]]:
        return self.run(lambda connection: connection.execute(statement, values).all())

    def value(self, statement: Executable, values: Values = None, rank: Rank = Rank.ANSWER) -> Any:
        """The first column of the first row; ``None`` where there is none."""
        return self.run(lambda connection: connection.execute(statement, values).scalar(), rank)

    def change(self, statement: Executable, values: Values = None, rank: Rank = Rank.ANSWER) -> int:
        """How many rows a statement changed."""
        return self.run(lambda connection: connection.execute(statement, values).rowcount, rank)

    def run(self, work: Work[T], rank: Rank = Rank.ANSWER) -> T:
        """What ``work`` returns; what it wrote is on disk by then, or nothing of it if it raises.

        It may run on another thread, and once more where what it ran together with failed, so it is
        to do nothing but ask the database.
        """
        if self._together:
            return cast(T, self._together.run(work, rank=rank))
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
        if self._kept:
            with suppress(SQLAlchemyError):
                self._kept.close()
        self._kept = None
        self.engine.dispose()

    def _transact(self, works: Sequence[Work[Any]]) -> list[Any]:
        try:
            connection = self._kept = self._kept or self.engine.connect()
            with connection.begin():
                return [work(connection) for work in works]
        except BaseException:
            # Whatever state it is in: one that is new has nothing left over.
            self.close()
            raise
