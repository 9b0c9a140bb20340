"""Until when a turn may go on, for whatever is called in it, on any of its threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from core.errors import DeadlineExceeded


class Deadline:
    """The moment ``seconds`` from now."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds until then; at least 0."""
        return max(self._at - time.monotonic(), 0.0)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let it hold for what is called meanwhile, in place of another one."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def remaining_time() -> float | None:
    """Seconds until the deadline that holds here; ``None`` where none does."""
    deadline = _current.get()
    return None if deadline is None else deadline.remaining()


def clamp(seconds: float) -> float:
    """``seconds``, or what is left if that is less. Raises ``DeadlineExceeded`` if nothing is."""
    left = remaining_time()
    if left is None:
        return seconds
    if not left:
        raise DeadlineExceeded
    return min(seconds, left)
