"""Waiting for what processes do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable

import psutil


def wait_until(
    happened: Callable[[], bool], what: str, timeout: float = 60.0, *, every: float = 0.01
) -> None:
    """Raises ``AssertionError`` that says ``what`` was waited for."""
    deadline = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        time.sleep(every)


def wait_until_ended(processes: Iterable[psutil.Process]) -> None:
    members = list(processes)
    wait_until(lambda: all(map(_has_ended, members)), f"the end of {members}")


def _has_ended(process: psutil.Process) -> bool:
    # Whether the dead are buried is up to the system's first process.
    with contextlib.suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True
