"""Work on the database, each piece whole or not at all."""

from __future__ import annotations

import itertools
import threading
from bisect import insort
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, Executable, Row
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError, SQLAlchemyError

T = TypeVar("T")

Work = Callable[[Connection], T]
Values = dict[str, Any] | None


# Of what waits for the one connection, done in one transaction. More would take less of the CPU,
# but whatever is urgent waits for all of it.
MOST_TOGETHER = 4


@dataclass(eq=False)
class _Job:
    """Work of a thread that waits; ``woken`` once it is done, or the thread's to do.

    What is urgent comes before what is not, what came earlier before what came later.
    """

    work: Work[Any]
    rank: tuple[bool, int]
    woken: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    result: Any = None
    error: BaseException | None = None


class Database:
    """Thread-safe.

    With ``one_connection`` that is kept, for a statement takes no longer than getting one from the
    engine. Work of threads that wait for it is done in one transaction, by the first of them: a
    commit takes as long as several statements, and handing the connection from thread to thread
    longer than either where many want the interpreter's lock.
    """

    def __init__(self, engine: Engine, *, one_connection: bool) -> None:
        self.engine = engine
        self._together = one_connection
        self._kept: Connection | None = None
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: list[_Job] = []
        self._busy = False

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

    def run(self, work: Work[T], *, urgent: bool = False) -> T:
        """What ``work`` returns; what it wrote is on disk by then, or nothing of it if it raises.

        It may run on another thread, and once more where what it ran together with failed, so it is
        to do nothing but ask the database.
        """
        if not self._together:
            with self.engine.begin() as connection:
                return work(connection)
        job = _Job(work, (not urgent, next(self._numbers)))
        if not self._is_next(job):
            job.woken.wait()
        if not job.done:
            self._lead(job)
        if job.error:
            raise job.error
        return cast(T, job.result)

    def close(self) -> None:
        """Let go of the connections; whoever asks again opens new ones."""
        if self._kept:
            with suppress(SQLAlchemyError):
                self._kept.close()
        self._kept = None
        self.engine.dispose()

    def _is_next(self, job: _Job) -> bool:
        """Whether nobody is at work, so that the job is its own thread's to do."""
        with self._lock:
            insort(self._waiting, job, key=lambda waiting: waiting.rank)
            free, self._busy = not self._busy, True
        return free

    def _lead(self, job: _Job) -> None:
        """Do the thread's own job and what else waits, and leave the rest to the next."""
        with self._lock:
            self._waiting.remove(job)
            jobs = [job, *self._waiting[: MOST_TOGETHER - 1]]
            del self._waiting[: MOST_TOGETHER - 1]
        try:
            self._do(jobs)
        finally:
            with self._lock:
                self._busy = bool(self._waiting)
                successor = self._waiting[:1]
            for woken in successor + jobs[1:]:
                woken.woken.set()

    def _do(self, jobs: list[_Job]) -> None:
        try:
            connection = self._kept = self._kept or self.engine.connect()
            with connection.begin():
                for job in jobs:
                    job.result = job.work(connection)
        except OperationalError as error:
            # The database fails, whatever the work.
            self.close()
            _settle(jobs, error)
        except BaseException as error:
            # Whatever state it is in: one that is new has nothing left over.
            self.close()
            if len(jobs) == 1:
                _settle(jobs, error)
            else:
                for job in jobs:
                    self._do([job])
        else:
            _settle(jobs, None)


def _settle(jobs: list[_Job], error: BaseException | None) -> None:
    for job in jobs:
        job.error, job.done = error, True
