"""Renews the claims and leases of this process, as long as it runs and reaches the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from storage.database import StorageError

log = structlog.get_logger(__name__)

# Several renewals fit into the time after which another process takes over
# (storage/turn_queue.py).
INTERVAL_SECONDS = 2.0


class Heartbeat:
    """A thread that calls each of ``renewals``, which may raise ``StorageError``."""

    def __init__(self, renewals: Sequence[Callable[[], None]]) -> None:
        self._renewals = renewals
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Stop renewing."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            for renew in self._renewals:
                try:
                    renew()
                except StorageError as error:
                    log.warning(
                        "Claims and leases not renewed; trying again", error=type(error).__name__
                    )
                except Exception:
                    log.exception("Claims and leases not renewed; trying again")
