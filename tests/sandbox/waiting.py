"""Helpers that wait for conditions and for the end of processes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable

import psutil

# Long enough for a machine that is busy with other things.
PATIENCE_SECONDS = 180.0


def wait_until(
    condition: Callable[[], bool],
    what: str,
    timeout: float = PATIENCE_SECONDS,
    *,
    every: float = 0.01,
) -> None:
    """Raises ``AssertionError`` with ``what`` in its message."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        time.sleep(every)


def wait_until_ended(processes: Iterable[psutil.Process]) -> None:
    members = list(processes)
    wait_until(lambda: all(map(_has_ended, members)), f"the end of {members}")


def _has_ended(process: psutil.Process) -> bool:
    # The system's init process may not reap orphans, which then stay zombies.
    with contextlib.suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True
