"""What this process did since it started: timings and counters, in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from figures import Figures


class Metrics:
    """Thread-safe. ``figures.py`` says what there is to be timed and counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._figures = Figures()
        self._started = time.monotonic()

    def time(self, stage: str, seconds: float) -> None:
        """Add a duration to one of ``STAGES``."""
        with self._lock:
            self._figures.stages[stage].add(max(seconds, 0.0))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the duration of the block, unless it raises."""
        started = time.monotonic()
        yield
        self.time(stage, time.monotonic() - started)

    def count(self, counter: str, number: int = 1) -> None:
        """Add to one of ``COUNTERS``."""
        if counter not in self._figures.counters:
            raise KeyError(counter)
        with self._lock:
            self._figures.count(counter, number, time.time())

    def failed(self, error: BaseException) -> None:
        """Count an error under the name of its class (a leaf of ``errors.py``)."""
        with self._lock:
            self._figures.errors[type(error).__name__] += 1

    def not_delivered(self, code: int | None) -> None:
        """Count a message that Twilio took, but that did not arrive, under Twilio's code."""
        with self._lock:
            self._figures.delivery_errors[str(code or "none")] += 1

    def figures(self) -> Figures:
        """A copy of all figures as they are now."""
        copy = Figures()
        with self._lock:
            copy.merge(self._figures)
        return copy

    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started
