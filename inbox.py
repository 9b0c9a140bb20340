"""Accepting messages once, and running each sender's in order, one at a time.

Kept in memory: a restart forgets what is waiting.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from enum import Enum

from inbound import Inbound
from store import Store


class Acceptance(Enum):
    """What became of a message that was handed in."""

    NEW = "new"
    DUPLICATE = "duplicate"
    FULL = "full"


class Inbox:
    """Hands messages to ``run``; senders never wait for each other."""

    def __init__(
        self, *, store: Store, run: Callable[[Inbound], None], pool: Executor, limit: int
    ) -> None:
        self._store = store
        self._run = run
        self._pool = pool
        self._limit = limit
        self._changed = threading.Condition()
        # A sender is listed while one of their messages runs; the queue holds those behind it.
        self._waiting: dict[str, deque[Inbound]] = {}
        self._size = 0
        self._closed = False

    def accept(self, message: Inbound) -> Acceptance:
        """Take a message, once per SID; returns at once."""
        with self._changed:
            if not self._store.admit(message.sid):
                return Acceptance.DUPLICATE
            if self._closed or self._size >= self._limit:
                self._store.dismiss(message.sid)
                return Acceptance.FULL
            self._size += 1
            if message.sender in self._waiting:
                self._waiting[message.sender].append(message)
                return Acceptance.NEW
            self._waiting[message.sender] = deque()
        self._pool.submit(self._serve, message)
        return Acceptance.NEW

    def close(self, timeout: float) -> bool:
        """Take no more messages and wait for the accepted ones; ``False`` if some are left."""
        with self._changed:
            self._closed = True
            return self._changed.wait_for(lambda: self._size == 0, timeout)

    def _serve(self, message: Inbound) -> None:
        try:
            self._run(message)
        finally:
            self._next(message.sender)

    def _next(self, sender: str) -> None:
        """Queue the sender's next message behind those of other senders."""
        with self._changed:
            self._size -= 1
            self._changed.notify_all()
            queue = self._waiting[sender]
            if not queue:
                del self._waiting[sender]
                return
            message = queue.popleft()
        self._pool.submit(self._serve, message)
