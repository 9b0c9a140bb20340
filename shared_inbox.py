"""Accepting messages once, for workers on other machines to run."""

from __future__ import annotations

import structlog
from procrastinate.exceptions import ProcrastinateException

from inbound import Inbound
from inbox import Acceptance, refused
from store import Store, StoreError
from turn_queue import TurnQueue

log = structlog.get_logger(__name__)


class SharedInbox:
    """Writes messages down and puts their turns into the queue, both or neither."""

    def __init__(self, *, store: Store, queue: TurnQueue, limit: int) -> None:
        self._store = store
        self._queue = queue
        self._limit = limit

    def accept(self, message: Inbound) -> Acceptance:
        """Take a message, once per SID; unless refused it is in the database when this returns."""
        try:
            if self._store.count_unfinished(limit=self._limit) >= self._limit:
                return refused(message, self._store, Acceptance.FULL)
            if self._store.admit(message, along=self._queue.put) is None:
                return refused(message, self._store, Acceptance.LIMITED)
        except (StoreError, ProcrastinateException):
            log.exception("The database fails; no message can be accepted")
            return Acceptance.FULL
        return Acceptance.NEW

    def count_unfinished(self) -> int:
        """None: workers have them."""
        return 0

    def recover(self) -> int:
        """Nothing: what is unfinished waits for workers, not for this process."""
        return 0

    def close(self, timeout: float) -> bool:
        """Nothing runs here."""
        return True
