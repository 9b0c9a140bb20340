"""A semaphore that limits how many requests are served at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class NoSlotFree(Exception):
    """No slot became free in time."""


class Slots:
    """``limit`` slots, which may be changed at any time.

    A request waits up to ``timeout`` seconds for a free slot.
    """

    def __init__(self, *, limit: int, timeout: float = 0.0) -> None:
        self.limit = limit
        self._timeout = timeout
        self._changed = threading.Condition()
        self._in_use = 0

    @property
    def in_use(self) -> int:
        return self._in_use

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Occupy a slot during the context; raises :class:`NoSlotFree`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._in_use < self.limit, self._timeout):
                raise NoSlotFree
            self._in_use += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_use -= 1
                self._changed.notify()
