"""Tells whether messages are answered: the content of ``GET /health``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from core.models import Backlog
from storage.database import StorageError
from storage.processes import Processes

# Turns may wait this long without a worker, because a worker may be restarting.
MAX_WAIT_SECONDS = 5.0
# A worker reports every two seconds (web/shared_metrics.py).
SILENCE_SECONDS = 15.0
FRESH_SECONDS = 1.0


@dataclass(frozen=True)
class HealthReport:
    """``oldest_waiting`` is in seconds. If the database fails, all numbers are 0."""

    database: bool
    workers: int = 0
    waiting: int = 0
    running: int = 0
    oldest_waiting: float = 0.0
    providers_down: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether messages are answered. A backlog is healthy as long as there are workers."""
        abandoned = self.running > 0 or self.oldest_waiting >= MAX_WAIT_SECONDS
        return self.database and not (abandoned and self.workers == 0)

    def to_json(self) -> dict[str, object]:
        """The JSON of ``GET /health``."""
        return {
            "healthy": self.healthy,
            "database": self.database,
            "workers": self.workers,
            "waiting": self.waiting,
            "running": self.running,
            "oldest_waiting": round(self.oldest_waiting, 3),
            "clouds_down": list(self.providers_down),
        }


def count_workers(processes: Processes) -> int:
    """The number of worker processes that have reported in the last ``SILENCE_SECONDS``."""
    return processes.count_alive("worker", since=time.time() - SILENCE_SECONDS)


def providers_down(processes: Processes) -> list[str]:
    """The providers that are down for processes that have reported in that time."""
    return processes.providers_down(since=time.time() - SILENCE_SECONDS)


class Health:
    """Checks the backlog and the number of workers; the callables may raise ``StorageError``.

    A single process counts as one worker. Providers that are ``down`` are reported, but do not make
    the service unhealthy: a restart would not help.
    """

    def __init__(
        self,
        *,
        backlog: Callable[[], Backlog],
        workers: Callable[[], int],
        down: Callable[[], list[str]],
    ) -> None:
        self._backlog = backlog
        self._workers = workers
        self._down = down
        self._lock = threading.Lock()
        self._report = HealthReport(database=False)
        self._fresh_until = 0.0

    def check(self) -> HealthReport:
        """The state now; cached for ``FRESH_SECONDS``, so that frequent requests cost nothing."""
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                self._report = self._check()
                self._fresh_until = time.monotonic() + FRESH_SECONDS
            return self._report

    def gauges(self) -> dict[str, int]:
        """The numbers of waiting and running turns, and of workers; none if the database fails."""
        # Not ``check``: a viewer of ``/health`` must not get an older report because of this.
        report = self._check()
        if not report.database:
            return {}
        return {"waiting": report.waiting, "running": report.running, "workers": report.workers}

    def _check(self) -> HealthReport:
        try:
            backlog, workers, down = self._backlog(), self._workers(), self._down()
        except StorageError:
            return HealthReport(database=False)
        # Another machine may have stored the oldest turn, and its clock may be ahead.
        waited = 0.0 if backlog.oldest is None else max(time.time() - backlog.oldest, 0.0)
        return HealthReport(
            database=True,
            workers=workers,
            waiting=backlog.waiting,
            running=backlog.running,
            oldest_waiting=waited,
            providers_down=tuple(sorted(set(down))),
        )
