"""The figures of all processes that share a database."""

from __future__ import annotations

import secrets
import threading

import structlog

from http_clients.circuit_breakers import CircuitBreakers
from metrics import Metrics, MetricsSnapshot
from storage.database import StorageError
from storage.processes import Processes

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 2.0


class ProcessMetrics:
    """Reports every two seconds that this process is alive, what it counted, and what is down.

    ``kind`` is ``web`` or ``worker``.
    """

    def __init__(
        self, *, metrics: Metrics, breakers: CircuitBreakers, processes: Processes, kind: str
    ) -> None:
        self._metrics = metrics
        self._breakers = breakers
        self._processes = processes
        self._kind = kind
        # Unlike a dyno's name, no other process has had it.
        self.process = f"{kind}-{secrets.token_hex(4)}"
        self._stopped = threading.Event()
        self._others: dict[str, MetricsSnapshot] = {}
        self._failing = False

    def start(self) -> None:
        threading.Thread(target=self._run, name="shared-metrics", daemon=True).start()

    def stop(self) -> None:
        """End the thread and report what was counted last."""
        self._stopped.set()
        self.report()

    def report(self) -> None:
        """Report now; where the store fails, the next time will do."""
        figures = self._metrics.snapshot().to_json() | {"tripped": self._breakers.providers_down()}
        try:
            self._processes.report(self.process, self._kind, figures)
        except StorageError as error:
            self._log_once(error)
        else:
            self._failing = False

    def snapshots(self) -> dict[str, MetricsSnapshot]:
        """By process: this one's as they are now, all others' as they were last read."""
        try:
            kept = self._processes.snapshots()
        except StorageError as error:
            self._log_once(error)
        else:
            self._others = {
                name: MetricsSnapshot.from_json(values) for name, values in kept.items()
            }
        return {**self._others, self.process: self._metrics.snapshot()}

    def _log_once(self, error: StorageError) -> None:
        if not self._failing:
            log.error("Metrics cannot be shared; trying again", error=type(error).__name__)
        self._failing = True

    def _run(self) -> None:
        self.report()
        while not self._stopped.wait(INTERVAL_SECONDS):
            self.report()
