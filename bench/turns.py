"""What a turn costs the processes and the database, and how many a worker runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.arrivals import AT_ONCE, Arrivals, Webhook
from bench.costs import cpu_of, cpu_of_family, transactions
from bench.site import Site, many_processes, one_process
from bench.table import Row, Table
from sandbox.bridge import Process
from sandbox.postgres import Postgres

# Backends report their transactions once they were idle for a second.
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
_KEPT = "SELECT pg_total_relation_size('turns') + pg_total_relation_size('sendings')"


@dataclass(frozen=True)
class Plan:
    """How many turns of each kind to run, on which numbers of workers.

    An idle bridge is looked at for ``idle_seconds``.
    """

    counts: Mapping[str, int]
    workers: Sequence[int]
    idle_seconds: float


@dataclass(frozen=True)
class Spent:
    """CPU seconds and transactions until a moment; workers, which start and stop, are apart."""

    at: float
    web: float
    database: float
    providers: float
    transactions: int

    @classmethod
    def by(cls, site: Site, server: Postgres) -> Spent:
        return cls(
            at=time.monotonic(),
            web=cpu_of(site.webs),
            database=cpu_of_family(server.pid),
            providers=time.process_time(),
            transactions=transactions(site) if site.database_url else 0,
        )

    @classmethod
    def at_rest(cls, site: Site, server: Postgres) -> Spent:
        """The same, once all transactions have been reported."""
        time.sleep(REPORT_SECONDS)
        return cls.by(site, server)


def turns(plan: Plan, folder: Path, server: Postgres, arrivals: Arrivals) -> Table:
    """CPU milliseconds per turn. Webhooks come first, then workers that run them."""
    rows: dict[str, Row] = {}
    for kind, count in plan.counts.items():
        with one_process(folder) as site:
            rows[f"{kind}, SQLite"] = _alone(site, server, arrivals, _webhooks(site, kind, count))
        for workers in plan.workers:
            with many_processes(folder, server, workers=workers) as site:
                webhooks = _webhooks(site, kind, count)
                label = f"{kind}, PostgreSQL, {workers} worker{'s'[: workers - 1]}"
                rows[label] = _divided(plan, site, server, arrivals, webhooks)
    return Table("CPU of a turn", _COLUMNS, rows)


def idleness(plan: Plan, folder: Path, server: Postgres) -> Table:
    """What one web process and two workers cost while nobody writes."""
    with many_processes(folder, server, workers=2) as site:
        per_second = _idle(plan, site, server)
    columns = ("web ms/s", "2 workers ms/s", "database ms/s", "transactions/s")
    return Table("Nobody writes", columns, {"1 web, 2 workers": per_second})


def _webhooks(site: Site, kind: str, count: int) -> Sequence[Webhook]:
    return site.texts(count) if kind == "text" else site.voice_notes(count)


def _alone(site: Site, server: Postgres, arrivals: Arrivals, webhooks: Sequence[Webhook]) -> Row:
    before = Spent.by(site, server)
    arrivals.post(site.url, webhooks, AT_ONCE).result()
    site.wait_until_done()
    after = Spent.by(site, server)
    count = len(webhooks)
    web, providers = (after.web - before.web) / count, (after.providers - before.providers) / count
    nan = math.nan
    return count / (after.at - before.at), web * 1000, nan, nan, nan, providers * 1000, nan, nan


def _divided(
    plan: Plan, site: Site, server: Postgres, arrivals: Arrivals, webhooks: Sequence[Webhook]
) -> Row:
    idle = _idle(plan, site, server)[-1]
    _at_once(site.workers, Process.stop)
    start = Spent.at_rest(site, server)
    arrivals.post(site.url, webhooks, AT_ONCE).result()
    accepted = Spent.at_rest(site, server)
    _at_once(site.workers, Process.start)
    # What starting took is not part of any turn.
    began, worked = Spent.by(site, server), cpu_of(site.workers)
    left = max(site.unfinished(), 1)
    ended = site.wait_until_done()
    end = Spent.at_rest(site, server)
    count = len(webhooks)
    by_turns = end.transactions - start.transactions - idle * (end.at - start.at)
    return (
        left / (ended - began.at),
        (accepted.web - start.web) / count * 1000,
        (cpu_of(site.workers) - worked) / left * 1000,
        (accepted.database - start.database) / count * 1000,
        (end.database - accepted.database) / count * 1000,
        (end.providers - began.providers) / left * 1000,
        by_turns / count,
        site.select(_KEPT) / count,
    )


def _idle(plan: Plan, site: Site, server: Postgres) -> Row:
    before, worked = Spent.at_rest(site, server), cpu_of(site.workers)
    time.sleep(plan.idle_seconds)
    after = Spent.at_rest(site, server)
    seconds = after.at - before.at
    return (
        (after.web - before.web) / seconds * 1000,
        (cpu_of(site.workers) - worked) / seconds * 1000,
        (after.database - before.database) / seconds * 1000,
        (after.transactions - before.transactions) / seconds,
    )


def _at_once(processes: Sequence[Process], do: Callable[[Process], object]) -> None:
    with ThreadPoolExecutor(len(processes)) as pool:
        list(pool.map(do, processes))
