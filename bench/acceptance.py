"""How fast webhooks are acknowledged, and at which rate that ends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.arrivals import Answers, Arrivals
from bench.site import Site, database_name, many_processes, one_process
from bench.table import Row, Table
from sandbox.faults import Fault
from sandbox.postgres import Postgres

# Longer than a measurement: what hangs keeps turns from running.
FOR_EVER = 600.0
# The mark in docs/performance.md.
P99_SECONDS = 0.150
# As many as INBOX_LIMIT lets wait, but for what is measured.
BACKLOG = 4000
# Asking how many connections there are takes one itself.
SAMPLE_SECONDS = 0.2

_COLUMNS = ("p50 ms", "p99 ms", "longest ms", "connections")


@dataclass(frozen=True)
class Plan:
    """Webhooks a second to try, until one is too many; ``seconds`` each."""

    rates: Sequence[int]
    served_rates: Sequence[int]
    seconds: float


def acknowledgement(plan: Plan, folder: Path, server: Postgres, arrivals: Arrivals) -> Table:
    """One web process: turns that nobody runs, and turns that are served meanwhile."""
    meter = _Meter(server, arrivals, plan.seconds)
    rows: dict[str, Row] = {}
    with _nobody_answers(folder) as site:
        rows |= meter.climb("SQLite, not served", site, plan.rates)
    with one_process(folder) as site:
        rows |= meter.climb("SQLite, served", site, plan.served_rates, served=True)
    with many_processes(folder, server, workers=0) as site:
        rows |= meter.climb("PostgreSQL, not served", site, plan.rates)
        rows |= meter.behind_a_backlog(f"PostgreSQL, {BACKLOG} wait, 80/s", site)
    with many_processes(folder, server, workers=2) as site:
        rows |= meter.climb("PostgreSQL, 2 workers", site, plan.served_rates, served=True)
    return Table("Acknowledgement of one web process", _COLUMNS, rows)


@contextmanager
def _nobody_answers(folder: Path) -> Iterator[Site]:
    """A single process whose threads all wait for the agent."""
    with one_process(folder, INBOX_LIMIT="1000000", PROVIDER_TIMEOUT_FACTOR="100") as site:
        fault = Fault("agentforce", "session", "hang", seconds=FOR_EVER, times=None)
        site.sandbox.faults.add(fault)
        yield site


@dataclass(frozen=True)
class _Meter:
    server: Postgres
    arrivals: Arrivals
    seconds: float

    def climb(
        self, label: str, site: Site, rates: Sequence[int], *, served: bool = False
    ) -> dict[str, Row]:
        """A row for each rate up to the first that does not hold."""
        rows: dict[str, Row] = {}
        # Everybody gets their session first.
        self._measure(site, len(site.users) / self.seconds)
        for rate in rates:
            _empty(site, served=served)
            row, holds = self._measure(site, rate)
            rows[f"{label}, {rate}/s"] = row
            if not holds:
                break
        return rows

    def behind_a_backlog(self, label: str, site: Site) -> dict[str, Row]:
        _empty(site, served=False)
        site.change(
            "INSERT INTO turns (message_sid, sender, kind, text, media_url, received_at, state,"
            " attempts) SELECT 'SM' || n, n, 'text', 'hello', '', extract(epoch FROM now()),"
            f" 'waiting', 0 FROM generate_series(1, {BACKLOG}) n"
        )
        return {label: self._measure(site, 80)[0]}

    def _measure(self, site: Site, rate: float) -> tuple[Row, bool]:
        """The numbers, and whether that rate holds."""
        webhooks = site.texts(round(rate * self.seconds))
        posted = self.arrivals.post(site.url, webhooks, rate)
        connections = 0
        while site.database_url and wait([posted], SAMPLE_SECONDS).not_done:
            connections = max(connections, self.server.connections(database_name(site)))
        answers = posted.result()
        return _row(answers, connections), answers.percentile(99) <= P99_SECONDS


def _row(answers: Answers, connections: int) -> Row:
    p50, p99, longest = (answers.percentile(percent) * 1000 for percent in (50, 99, 100))
    return p50, p99, longest, connections or math.nan


def _empty(site: Site, *, served: bool) -> None:
    """Leave no turns to the next measurement."""
    if served:
        site.wait_until_done()
    elif site.database_url:
        site.change("TRUNCATE turns CASCADE")
