"""The metrics of all processes that share a database."""

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
    """Saves this process's metrics in the database every two seconds, and reads the others'.

    Each report also shows that the process is alive, and names the providers that are down.
    ``kind`` is ``web`` or ``worker``.
    """

    def __init__(
        self, *, metrics: Metrics, breakers: CircuitBreakers, processes: Processes, kind: str
    ) -> None:
        self._metrics = metrics
        self._breakers = breakers
        self._processes = processes
        self._kind = kind
        # Random, because a dyno has the name of the dyno that it replaces.
        self.process = f"{kind}-{secrets.token_hex(4)}"
        self._stopped = threading.Event()
        self._others: dict[str, MetricsSnapshot] = {}
        self._failing = False

    def start(self) -> None:
        threading.Thread(target=self._run, name="shared-metrics", daemon=True).start()

    def stop(self) -> None:
        """End the thread, and report for the last time."""
        self._stopped.set()
        self.report()

    def report(self) -> None:
        """Save the metrics now; if the database fails, the next report saves them too."""
        saved = self._metrics.snapshot().to_json() | {"tripped": self._breakers.providers_down()}
        try:
            self._processes.report(self.process, self._kind, saved)
        except StorageError as error:
            self._log_once(error)
        else:
            self._failing = False

    def snapshots(self) -> dict[str, MetricsSnapshot]:
        """The snapshots of all processes, by name: this one's as of now, the others' as saved.

        If the database fails, the others' are those that were read last.
        """
        try:
            saved = self._processes.snapshots()
        except StorageError as error:
            self._log_once(error)
        else:
            self._others = {
                process: MetricsSnapshot.from_json(values) for process, values in saved.items()
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
