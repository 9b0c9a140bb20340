"""How long it takes to claim the next turn, with backlogs of different sizes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import psycopg

from bench.table import Row, Table
from sandbox.postgres import Postgres
from storage.database import Database
from storage.engine import open_postgres
from storage.turn_queue import TurnQueue

_DELETE_TURNS = "TRUNCATE turns CASCADE"
_INSERT_TURNS = (
    "INSERT INTO turns"
    " (message_sid, sender, kind, text, media_url, received_at, state, attempts)"
    " SELECT concat('SM', (%s::int) + n), concat('whatsapp:+', (%s::int) + n %% %s), 'text', '',"
    " '', 0, 'waiting', 0 FROM generate_series(1, %s) n"
)


@dataclass(frozen=True)
class Backlog:
    """``flood`` waiting messages of one sender, then one message each of ``others`` senders."""

    flood: int
    others: int

    def __str__(self) -> str:
        flood = f"{self.flood:,} of one sender, then " if self.flood else ""
        return f"{flood}{self.others:,} of as many senders"


def measure_claiming(backlogs: list[Backlog], times: int, server: Postgres) -> Table:
    """Milliseconds to claim a turn: the median of ``times`` claims for each backlog."""
    url = server.database("claiming")
    database = open_postgres(url, connections=1)
    rows = {str(backlog): _row(url, database, backlog, times) for backlog in backlogs}
    database.close()
    return Table("Claiming a turn", ("ms",), rows)


def _row(url: str, database: Database, backlog: Backlog, times: int) -> Row:
    with psycopg.connect(url, autocommit=True) as connection:
        _fill(connection, backlog)
    queue = TurnQueue(database=database, single_process=False)
    # The first claim is not counted: it takes the flooding sender's turn, and plans the query.
    return (median([_claim_seconds(queue) for _ in range(times + 1)][1:]) * 1000,)


def _fill(connection: psycopg.Connection[tuple[object, ...]], backlog: Backlog) -> None:
    connection.execute(_DELETE_TURNS)
    if backlog.flood:
        connection.execute(_INSERT_TURNS, [0, 1, 1, backlog.flood])
    if backlog.others:
        connection.execute(_INSERT_TURNS, [backlog.flood, 10, backlog.others, backlog.others])
    # Autovacuum would not analyse the table in time.
    connection.execute("ANALYZE turns")


def _claim_seconds(queue: TurnQueue) -> float:
    started = time.perf_counter()
    queue.claim(1)
    return time.perf_counter() - started
