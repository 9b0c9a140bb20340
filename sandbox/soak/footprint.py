"""What a bridge takes of its machine while it is idle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median_low

from sandbox.bridge import Process

SAMPLES = 9
SAMPLE_SECONDS = 0.2
# What may come and go with keep-alive: so many, or that part of what was there.
SPARE = {"threads": (0, 0.0), "descriptors": (5, 0.02), "connections": (2, 0.0)}


@dataclass(frozen=True)
class Footprint:
    """Of all processes together; ``memory`` is resident, in bytes, shared pages once for each.

    ``sockets`` are among the ``descriptors``; ``connections`` are those that the database counts.
    """

    memory: int
    threads: int
    descriptors: int
    sockets: int
    connections: int


def footprint(processes: Sequence[Process], connections: Callable[[], int]) -> Footprint:
    """The median of several looks, which take two seconds."""
    looks = []
    for _ in range(SAMPLES):
        looks.append(
            (
                sum(process.resident_memory() for process in processes),
                sum(process.threads() for process in processes),
                sum(process.descriptors() for process in processes),
                sum(process.sockets() for process in processes),
                connections(),
            )
        )
        time.sleep(SAMPLE_SECONDS)
    return Footprint(*map(median_low, zip(*looks, strict=True)))


def excesses(first: Footprint, last: Footprint, *, growth: float) -> list[str]:
    """In what ``last`` is too much beside ``first``; memory may grow by ``growth`` per cent."""
    grown = (last.memory / first.memory - 1) * 100
    found = [f"memory grew by {grown:.1f} %"] if grown >= growth else []
    for name, (spare, part) in SPARE.items():
        before, after = getattr(first, name), getattr(last, name)
        if after > before + max(spare, int(before * part)):
            found.append(f"{name} grew from {before} to {after}")
    return found
