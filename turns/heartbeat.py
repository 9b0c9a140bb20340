"""Renews what this process holds, for as long as it lives and reaches the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from storage.store import StoreError

log = structlog.get_logger(__name__)

# Several fit into the time after which others take what is not renewed (storage/turn_queue.py).
INTERVAL_SECONDS = 2.0


class Heartbeat:
    """A thread that calls each of ``renewals``, which may raise ``StoreError``."""

    def __init__(self, renewals: Sequence[Callable[[], None]]) -> None:
        self._renewals = renewals
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Renew nothing more."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            for renew in self._renewals:
                try:
                    renew()
                except StoreError as error:
                    log.warning("Nothing renewed", error=type(error).__name__)
                except Exception:
                    log.exception("Nothing renewed")
