"""What processes and the database have spent so far."""

from __future__ import annotations

from collections.abc import Iterable

import psutil

from bench.site import Site
from sandbox.bridge import Process


def cpu_of(processes: Iterable[Process]) -> float:
    """CPU seconds of processes and all their children, those that ended included."""
    return sum(cpu_of_family(process.pid) for process in processes)


def cpu_of_family(pid: int) -> float:
    """The same of one process by its id."""
    first = psutil.Process(pid)
    return sum(_cpu(process) for process in (first, *first.children(recursive=True)))


def transactions(site: Site) -> int:
    """How many the site's database has seen, as far as its backends have said so by now."""
    return site.select(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database"
        " WHERE datname = current_database()"
    )


def _cpu(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:4]))
    except psutil.NoSuchProcess:
        return 0.0
