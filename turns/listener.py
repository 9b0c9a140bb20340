"""Wakes the worker when other processes store turns, by PostgreSQL's LISTEN and NOTIFY."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import psycopg
import structlog
from sqlalchemy import Connection, text

from storage.database import Database, StorageError
from storage.turns import NEW_TURNS

log = structlog.get_logger(__name__)

# If no notification came for this time, the connection is tested.
SILENCE_SECONDS = 5.0
ANSWER_SECONDS = 3.0
RETRY_SECONDS = 1.0


class Listener:
    """A thread that calls ``wake`` for each new turn. In case it fails, the worker also polls."""

    def __init__(self, *, database: Database, wake: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="listener", daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._database.connection() as connection:
                    self._listen(connection)
            except (StorageError, psycopg.Error) as error:
                log.debug("Not listening for new turns", error=type(error).__name__)
                self._stopped.wait(RETRY_SECONDS)

    def _listen(self, connection: Connection) -> None:
        driver = cast(psycopg.Connection, connection.connection.driver_connection)
        while not self._stopped.is_set():
            with self._database.bounded(ANSWER_SECONDS):
                connection.execute(text(f"LISTEN {NEW_TURNS}"))
            self._wake()
            for _ in driver.notifies(timeout=SILENCE_SECONDS):
                self._wake()
