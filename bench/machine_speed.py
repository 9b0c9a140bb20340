"""The speed of the machine, which changes if it is a virtual one with busy neighbours."""

from __future__ import annotations

import time

LOOPS = 200_000
# The fastest of some tries, so that an interrupt in one of them does not count.
TRIES = 3


def loops_per_second() -> float:
    """How often one core runs a simple loop in a second of its CPU time."""
    return LOOPS / min(_loop_seconds() for _ in range(TRIES))


def _loop_seconds() -> float:
    begin = time.process_time()
    for _ in range(LOOPS):
        pass
    return time.process_time() - begin
