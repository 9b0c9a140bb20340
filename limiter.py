"""How many requests a cloud gets at once."""

from __future__ import annotations

import threading
from collections import deque


class Limiter:
    """A gate for at most ``size`` threads at once, first come, first served.

    Use it as a context manager. ``resize`` may come at any time; who is inside stays inside.
    """

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._size = size
        self._inside = 0
        self._queue: deque[threading.Event] = deque()

    def resize(self, size: int) -> None:
        with self._lock:
            self._size = max(size, 1)
            self._admit()

    def __enter__(self) -> None:
        with self._lock:
            if not self._queue and self._inside < self._size:
                self._inside += 1
                return
            turn = threading.Event()
            self._queue.append(turn)
        turn.wait()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            self._admit()

    def _admit(self) -> None:
        while self._queue and self._inside < self._size:
            self._inside += 1
            self._queue.popleft().set()
