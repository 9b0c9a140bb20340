"""How much CPU time processes have used, and how many transactions a database has seen."""

from __future__ import annotations

from collections.abc import Iterable

import psutil

from bench.target import Target
from sandbox.bridge import Process


def cpu_seconds(processes: Iterable[Process]) -> float:
    """CPU seconds of processes and all their children, including children that have ended."""
    return sum(cpu_seconds_of_tree(process.pid) for process in processes)


def cpu_seconds_of_tree(pid: int) -> float:
    """CPU seconds of one process and its children."""
    root = psutil.Process(pid)
    return sum(_cpu_seconds(process) for process in (root, *root.children(recursive=True)))


def transaction_count(target: Target) -> int:
    """Transactions of the target's database that its backends have reported so far."""
    return target.select(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database"
        " WHERE datname = current_database()"
    )


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:4]))
    except psutil.NoSuchProcess:
        return 0.0
