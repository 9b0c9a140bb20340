"""How fast one web process acknowledges webhooks, and the highest rate it sustains."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load_generator import LoadGenerator, ResponseTimes
from bench.table import Row, Table
from bench.target import Target, database_name, single_process, web_and_workers
from sandbox.faults import Fault
from sandbox.postgres import Postgres

# Longer than any measurement: the agent hangs, so that no turn runs.
HANG_SECONDS = 600.0
# The target in docs/performance.md.
P99_SECONDS = 0.150
# Fewer than INBOX_LIMIT, so that the measured webhooks are still accepted.
BACKLOG = 4000
BACKLOG_RATE = 80
# The query that counts connections needs one itself, so it runs only this often.
SAMPLE_SECONDS = 0.2

_COLUMNS = ("p50 ms", "p99 ms", "longest ms", "connections")


@dataclass(frozen=True)
class Plan:
    """Webhooks per second to try in turn, up to the first rate that is too high.

    ``served_rates`` are tried while turns run. Each rate lasts ``seconds``.
    """

    rates: Sequence[int]
    served_rates: Sequence[int]
    seconds: float


def measure_acknowledgement(
    plan: Plan, folder: Path, server: Postgres, load_generator: LoadGenerator
) -> Table:
    """Measure one web process, while no turns run and while turns are served."""
    meter = _Meter(server, load_generator, plan.seconds)
    rows: dict[str, Row] = {}
    with _hanging_agent(folder) as target:
        rows |= meter.increase_rate("SQLite, not served", target, plan.rates)
    with single_process(folder) as target:
        rows |= meter.increase_rate("SQLite, served", target, plan.served_rates, served=True)
    with web_and_workers(folder, server, workers=0) as target:
        rows |= meter.increase_rate("PostgreSQL, not served", target, plan.rates)
        label = f"PostgreSQL, {BACKLOG} wait, {BACKLOG_RATE}/s"
        rows[label] = meter.measure_with_backlog(target)
    with web_and_workers(folder, server, workers=2) as target:
        rows |= meter.increase_rate("PostgreSQL, 2 workers", target, plan.served_rates, served=True)
    return Table("Acknowledgement of one web process", _COLUMNS, rows)


@contextmanager
def _hanging_agent(folder: Path) -> Iterator[Target]:
    """A single process in which every turn waits for an agent session."""
    with single_process(folder, INBOX_LIMIT="1000000", PROVIDER_TIMEOUT_FACTOR="100") as target:
        fault = Fault("agentforce", "session", "hang", seconds=HANG_SECONDS, times=None)
        target.sandbox.faults.add(fault)
        yield target


@dataclass(frozen=True)
class _Meter:
    server: Postgres
    load_generator: LoadGenerator
    seconds: float

    def increase_rate(
        self, label: str, target: Target, rates: Sequence[int], *, served: bool = False
    ) -> dict[str, Row]:
        """A row for each rate, up to the first at which p99 is above ``P99_SECONDS``."""
        rows: dict[str, Row] = {}
        # Every user writes once first, so that their sessions are not part of the measurement.
        self._measure(target, len(target.users) / self.seconds)
        for rate in rates:
            _clear_turns(target, served=served)
            row, sustained = self._measure(target, rate)
            rows[f"{label}, {rate}/s"] = row
            if not sustained:
                break
        return rows

    def measure_with_backlog(self, target: Target) -> Row:
        """Measure while ``BACKLOG`` turns wait in the database."""
        _clear_turns(target, served=False)
        target.execute(
            "INSERT INTO turns (message_sid, sender, kind, text, media_url, received_at, state,"
            " attempts) SELECT 'SM' || n, n, 'text', 'hello', '', extract(epoch FROM now()),"
            f" 'waiting', 0 FROM generate_series(1, {BACKLOG}) n"
        )
        return self._measure(target, BACKLOG_RATE)[0]

    def _measure(self, target: Target, rate: float) -> tuple[Row, bool]:
        """The row, and whether p99 is within ``P99_SECONDS``."""
        webhooks = target.texts(round(rate * self.seconds))
        posted = self.load_generator.post(target.url, webhooks, rate)
        connections = 0
        while target.database_url and wait([posted], SAMPLE_SECONDS).not_done:
            connections = max(connections, self.server.connections(database_name(target)))
        times = posted.result()
        return _row(times, connections), times.percentile(99) <= P99_SECONDS


def _row(times: ResponseTimes, connections: int) -> Row:
    p50, p99, longest = (times.percentile(percent) * 1000 for percent in (50, 99, 100))
    return p50, p99, longest, connections or math.nan


def _clear_turns(target: Target, *, served: bool) -> None:
    """Finish or delete all turns, so that none is left for the next measurement."""
    if served:
        target.wait_until_idle()
    elif target.database_url:
        target.execute("TRUNCATE turns CASCADE")
