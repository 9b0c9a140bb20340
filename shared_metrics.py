"""The figures of all processes that share a database, as one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import structlog

from figures import Figures
from metrics import Metrics
from store import StoreError

log = structlog.get_logger(__name__)

# Of an idle process too, lest what it counted be purged as that of a dead one.
REFRESH_SECONDS = 900.0


class FiguresStore(Protocol):
    """Keeps the latest figures of each process as JSON; both methods may raise ``StoreError``."""

    def save_figures(self, process: str, figures: dict[str, Any]) -> None: ...

    def figures(self) -> Mapping[str, dict[str, Any]]: ...


class SharedMetrics:
    """A thread that shares what this process counted, every ``interval`` seconds.

    ``process`` names the process, and no other one before or after it.
    """

    def __init__(
        self, *, metrics: Metrics, store: FiguresStore, process: str, interval: float = 2.0
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._process = process
        self._interval = interval
        self._stopped = threading.Event()
        self._saving = threading.Lock()
        self._saved = Figures()
        self._saved_at = time.monotonic()
        self._others = Figures()
        self._failing: set[str] = set()

    def start(self) -> None:
        threading.Thread(target=self._run, name="shared-metrics", daemon=True).start()

    def stop(self) -> None:
        """End the thread and share what was counted last."""
        self._stopped.set()
        self.save()

    def save(self) -> None:
        """Share the figures if they changed; while the store fails, the next time will do."""
        # One at a time, so that nobody writes older figures over newer ones.
        with self._saving, self._logged("saved"):
            figures = self._metrics.figures()
            refreshed_at = self._saved_at + REFRESH_SECONDS
            if figures != self._saved or time.monotonic() > refreshed_at:
                self._store.save_figures(self._process, figures.to_json())
                self._saved, self._saved_at = figures, time.monotonic()

    def figures(self) -> Figures:
        """Those of this process as they are now, and of all others as they were last read."""
        with self._logged("read"):
            self._others = self._read()
        figures = self._metrics.figures()
        figures.merge(self._others)
        return figures

    def _read(self) -> Figures:
        others = Figures()
        for process, kept in self._store.figures().items():
            if process != self._process:
                others.merge(Figures.from_json(kept))
        return others

    @contextmanager
    def _logged(self, action: str) -> Iterator[None]:
        """Log a store that fails, once until it works again, rather than raise."""
        try:
            yield
        except StoreError as error:
            if not self._failing:
                reason = f"{type(error).__name__}: {error}"
                log.error("Metrics cannot be shared; trying again", error=reason)
            self._failing.add(action)
        else:
            self._failing.discard(action)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            self.save()
