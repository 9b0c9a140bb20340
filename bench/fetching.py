"""What it costs to find the next turn among those that wait."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import psycopg

from bench.table import Row, Table
from opening import open_postgres
from sandbox.postgres import Postgres
from turn_queue import QUEUE

# Of migration 0002.
INDEX = "procrastinate_jobs_by_lock"

_EMPTY = "TRUNCATE procrastinate_jobs, procrastinate_workers CASCADE"
_PUT = (
    "INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, args, status)"
    " SELECT %s, 'serve', 0, concat('whatsapp:+', (%s::int) + n %% %s), '{}', 'todo'"
    " FROM generate_series(1, %s) n"
)
_RUN_FIRST = (
    "UPDATE procrastinate_jobs SET status = 'doing',"
    " worker_id = (SELECT id FROM procrastinate_workers)"
    " WHERE id = (SELECT min(id) FROM procrastinate_jobs)"
)
_FETCH = (
    "SELECT id FROM procrastinate_fetch_job_v2"
    "(%s::varchar[], (SELECT id FROM procrastinate_workers))"
)


@dataclass(frozen=True)
class Backlog:
    """``flood`` messages of one sender, the first of them running; then one of each of others."""

    flood: int
    others: int

    def __str__(self) -> str:
        flood = f"{self.flood:,} of one sender, then " if self.flood else ""
        return f"{flood}{self.others:,} of as many senders"


def fetching(backlogs: list[Backlog], times: int, server: Postgres) -> Table:
    """Milliseconds to fetch a job, with our index on locks and without."""
    url = server.database("fetching")
    open_postgres(url, connections=1).close()
    with psycopg.connect(url, autocommit=True) as database:
        rows = {str(backlog): _with_and_without(database, backlog, times) for backlog in backlogs}
    return Table("Fetching a job", ("with index ms", "without ms"), rows)


def _with_and_without(
    database: psycopg.Connection[tuple[object, ...]], backlog: Backlog, times: int
) -> Row:
    _fill(database, backlog)
    indexed = _fetch(database, times)
    with database.transaction(force_rollback=True):
        database.execute(f"DROP INDEX {INDEX}")
        return indexed, _fetch(database, times)


def _fill(database: psycopg.Connection[tuple[object, ...]], backlog: Backlog) -> None:
    database.execute(_EMPTY)
    database.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
    if backlog.flood:
        database.execute(_PUT, [QUEUE, 1, 1, backlog.flood])
        database.execute(_RUN_FIRST)
    if backlog.others:
        database.execute(_PUT, [QUEUE, 10, backlog.others, backlog.others])
    # A backlog comes and goes faster than autovacuum; this is the better case.
    database.execute("ANALYZE procrastinate_jobs")


def _fetch(database: psycopg.Connection[tuple[object, ...]], times: int) -> float:
    # The first one plans.
    return median([_fetch_once(database) for _ in range(times + 1)][1:]) * 1000


def _fetch_once(database: psycopg.Connection[tuple[object, ...]]) -> float:
    with database.transaction(force_rollback=True):
        started = time.perf_counter()
        database.execute(_FETCH, [[QUEUE]])
        return time.perf_counter() - started
