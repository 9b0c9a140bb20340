"""Whether messages get answered, for whoever or whatever watches the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from core.models import Backlog
from storage.processes import Processes
from storage.store import StoreError

# Turns may wait that long without a worker: one that is replaced is back by then.
PATIENCE_SECONDS = 5.0
# A worker reports every two seconds (web/shared_metrics.py).
SILENCE_SECONDS = 15.0
FRESH_SECONDS = 1.0


@dataclass(frozen=True)
class HealthReport:
    """What was found; ``oldest_waiting`` in seconds. Without a database the numbers are 0."""

    database: bool
    workers: int = 0
    waiting: int = 0
    running: int = 0
    oldest_waiting: float = 0.0
    providers_down: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether what arrives gets answered, if late; a backlog that is worked off is healthy."""
        deserted = self.running > 0 or self.oldest_waiting >= PATIENCE_SECONDS
        return self.database and not (deserted and self.workers == 0)

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
    """How many worker processes have reported lately."""
    return processes.count_alive("worker", since=time.time() - SILENCE_SECONDS)


def providers_down(processes: Processes) -> list[str]:
    """What is down for processes that have reported lately."""
    return processes.providers_down(since=time.time() - SILENCE_SECONDS)


class Health:
    """Judges by what waits and by how many workers live; the callables may raise ``StoreError``.

    Where this process runs the turns itself, it is its one worker. A provider that is ``down`` is
    said, and nothing that a restart would mend.
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
        """What was found within the last ``FRESH_SECONDS``: whoever asks, however often."""
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                self._report = self._look()
                self._fresh_until = time.monotonic() + FRESH_SECONDS
            return self._report

    def _look(self) -> HealthReport:
        try:
            backlog, workers, down = self._backlog(), self._workers(), self._down()
        except StoreError:
            return HealthReport(database=False)
        # The oldest was written down by another machine perhaps, whose clock is ahead.
        waited = 0.0 if backlog.oldest is None else max(time.time() - backlog.oldest, 0.0)
        return HealthReport(
            database=True,
            workers=workers,
            waiting=backlog.waiting,
            running=backlog.running,
            oldest_waiting=waited,
            providers_down=tuple(sorted(set(down))),
        )
