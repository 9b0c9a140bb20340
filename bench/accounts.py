"""CPU time of a process by what its threads did, each moment booked once."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Accounts:
    """What is called within something else is booked for itself, and not for that."""

    def __init__(self) -> None:
        self._own = threading.local()
        # A signal may have the books written while its thread writes in them.
        self._lock = threading.RLock()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._calls: defaultdict[str, int] = defaultdict(int)

    def book(self, owner: Any, method: str, name: str) -> None:
        """From now on book what ``method`` of ``owner`` takes as ``name``."""
        original = getattr(owner, method)
        setattr(owner, method, self._booked(original, name))

    def write(self, file: Path) -> None:
        """CPU seconds and calls by name; ``""`` is the whole process."""
        with self._lock:
            booked = {name: (seconds, self._calls[name]) for name, seconds in self._seconds.items()}
        whole = file.with_suffix(".part")
        whole.write_text(json.dumps(booked | {"": (time.process_time(), 0)}), encoding="utf-8")
        whole.rename(file)

    def _booked(self, original: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*arguments: Any, **options: Any) -> Any:
            outer, self._own.inner = getattr(self._own, "inner", 0.0), 0.0
            began = time.thread_time()
            try:
                return original(*arguments, **options)
            finally:
                took = time.thread_time() - began
                with self._lock:
                    self._seconds[name] += took - self._own.inner
                    self._calls[name] += 1
                self._own.inner = outer + took

        return call
