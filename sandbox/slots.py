"""How many requests a service serves at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Full(Exception):
    """No slot became free in time."""


class Slots:
    """``limit`` places; who finds none waits up to ``patience`` seconds."""

    def __init__(self, *, limit: int, patience: float = 0.0) -> None:
        self.limit = limit
        self._patience = patience
        self._changed = threading.Condition()
        self._taken = 0

    @property
    def taken(self) -> int:
        return self._taken

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold a place; raises :class:`Full`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken < self.limit, self._patience):
                raise Full
            self._taken += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1
                self._changed.notify()
