"""The turn's deadline: a context variable, which applies to all calls and threads of the turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from core.errors import DeadlineExceeded


class Deadline:
    """The moment ``seconds`` from its creation."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return max(self._ends_at - time.monotonic(), 0.0)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Make this the deadline of the ``with`` block, in place of any other."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def remaining_time() -> float | None:
    """Seconds until the current deadline; ``None`` if there is none."""
    deadline = _current.get()
    return None if deadline is None else deadline.remaining()


def clamp(seconds: float) -> float:
    """A timeout of ``seconds``, shortened to the current deadline.

    Raises ``DeadlineExceeded`` if that has passed.
    """
    remaining = remaining_time()
    if remaining is None:
        return seconds
    if not remaining:
        raise DeadlineExceeded
    return min(seconds, remaining)
