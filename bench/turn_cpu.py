"""CPU time and database transactions per turn, and how many turns a worker runs per second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.load_generator import AT_ONCE, LoadGenerator, Webhook
from bench.resource_usage import cpu_seconds, cpu_seconds_of_tree, transaction_count
from bench.table import Row, Table
from bench.target import Target, single_process, web_and_workers
from sandbox.bridge import Process
from sandbox.postgres import Postgres

# PostgreSQL backends report their transactions after being idle for a second.
REPORT_SECONDS = 2.0

_COLUMNS = (
    "turns/s",
    "web ms",
    "worker ms",
    "database: accepting ms",
    "serving ms",
    "providers ms",
    "transactions",
    "bytes",
)
_TABLE_BYTES = "SELECT pg_total_relation_size('turns') + pg_total_relation_size('sendings')"


@dataclass(frozen=True)
class Plan:
    """How many turns of each kind to run, and with how many workers.

    An idle bridge is measured for ``idle_seconds``.
    """

    counts: Mapping[str, int]
    workers: Sequence[int]
    idle_seconds: float


@dataclass(frozen=True)
class Usage:
    """CPU seconds and transactions up to the moment ``at``.

    Workers are not included, because they are stopped and started during a measurement.
    """

    at: float
    web: float
    database: float
    providers: float
    transactions: int

    @classmethod
    def now(cls, target: Target, server: Postgres) -> Usage:
        return cls(
            at=time.monotonic(),
            web=cpu_seconds(target.webs),
            database=cpu_seconds_of_tree(server.pid),
            providers=time.process_time(),
            transactions=transaction_count(target) if target.database_url else 0,
        )

    @classmethod
    def settled(cls, target: Target, server: Postgres) -> Usage:
        """The usage after all backends have reported their transactions."""
        time.sleep(REPORT_SECONDS)
        return cls.now(target, server)


def measure_turn_cpu(
    plan: Plan, folder: Path, server: Postgres, load_generator: LoadGenerator
) -> Table:
    """CPU milliseconds per turn. With PostgreSQL, workers start after all webhooks arrived."""
    rows: dict[str, Row] = {}
    for kind, count in plan.counts.items():
        with single_process(folder) as target:
            webhooks = _webhooks(target, kind, count)
            rows[f"{kind}, SQLite"] = _single_row(target, server, load_generator, webhooks)
        for workers in plan.workers:
            with web_and_workers(folder, server, workers=workers) as target:
                webhooks = _webhooks(target, kind, count)
                label = f"{kind}, PostgreSQL, {workers} worker{'s'[: workers - 1]}"
                rows[label] = _workers_row(plan, target, server, load_generator, webhooks)
    return Table("CPU of a turn", _COLUMNS, rows)


def measure_idle_cpu(plan: Plan, folder: Path, server: Postgres) -> Table:
    """CPU time and transactions of one web process and two workers without any messages."""
    with web_and_workers(folder, server, workers=2) as target:
        per_second = _idle_row(plan, target, server)
    columns = ("web ms/s", "2 workers ms/s", "database ms/s", "transactions/s")
    return Table("Nobody writes", columns, {"1 web, 2 workers": per_second})


def _webhooks(target: Target, kind: str, count: int) -> Sequence[Webhook]:
    return target.texts(count) if kind == "text" else target.voice_notes(count)


def _single_row(
    target: Target, server: Postgres, load_generator: LoadGenerator, webhooks: Sequence[Webhook]
) -> Row:
    before = Usage.now(target, server)
    load_generator.post(target.url, webhooks, AT_ONCE).result()
    target.wait_until_idle()
    after = Usage.now(target, server)
    count = len(webhooks)
    web, providers = (after.web - before.web) / count, (after.providers - before.providers) / count
    nan = math.nan
    return count / (after.at - before.at), web * 1000, nan, nan, nan, providers * 1000, nan, nan


def _workers_row(
    plan: Plan,
    target: Target,
    server: Postgres,
    load_generator: LoadGenerator,
    webhooks: Sequence[Webhook],
) -> Row:
    idle_transactions_per_second = _idle_row(plan, target, server)[-1]
    _in_parallel(target.workers, Process.stop)
    start = Usage.settled(target, server)
    load_generator.post(target.url, webhooks, AT_ONCE).result()
    accepted = Usage.settled(target, server)
    _in_parallel(target.workers, Process.start)
    # Measured after the workers have started, because starting is not part of any turn.
    began, workers_before = Usage.now(target, server), cpu_seconds(target.workers)
    remaining = max(target.unfinished_turns(), 1)
    ended = target.wait_until_idle()
    end = Usage.settled(target, server)
    count = len(webhooks)
    idle_transactions = idle_transactions_per_second * (end.at - start.at)
    return (
        remaining / (ended - began.at),
        (accepted.web - start.web) / count * 1000,
        (cpu_seconds(target.workers) - workers_before) / remaining * 1000,
        (accepted.database - start.database) / count * 1000,
        (end.database - accepted.database) / count * 1000,
        (end.providers - began.providers) / remaining * 1000,
        (end.transactions - start.transactions - idle_transactions) / count,
        target.select(_TABLE_BYTES) / count,
    )


def _idle_row(plan: Plan, target: Target, server: Postgres) -> Row:
    """Usage per second of web, workers and database without any messages."""
    before, workers_before = Usage.settled(target, server), cpu_seconds(target.workers)
    time.sleep(plan.idle_seconds)
    after = Usage.settled(target, server)
    seconds = after.at - before.at
    return (
        (after.web - before.web) / seconds * 1000,
        (cpu_seconds(target.workers) - workers_before) / seconds * 1000,
        (after.database - before.database) / seconds * 1000,
        (after.transactions - before.transactions) / seconds,
    )


def _in_parallel(processes: Sequence[Process], action: Callable[[Process], object]) -> None:
    with ThreadPoolExecutor(len(processes)) as pool:
        list(pool.map(action, processes))
