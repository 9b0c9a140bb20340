"""The resources that an idle bridge uses: memory, threads, descriptors and connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median_low

from sandbox.bridge import Process

SAMPLES = 9
SAMPLE_SECONDS = 0.2
# Allowed growth, because keep-alive connections come and go: a number, or a fraction if greater.
TOLERANCES = {"threads": (0, 0.0), "descriptors": (5, 0.02), "connections": (2, 0.0)}


@dataclass(frozen=True)
class Footprint:
    """Sums over all processes; ``memory`` is the proportional set size in bytes.

    ``descriptors`` include ``sockets``. ``connections`` are those of the database.
    """

    memory: int
    threads: int
    descriptors: int
    sockets: int
    connections: int


def measure_footprint(processes: Sequence[Process], connections: Callable[[], int]) -> Footprint:
    """The median of several samples, which take two seconds."""
    samples = []
    for _ in range(SAMPLES):
        samples.append(
            (
                sum(process.resident_memory() for process in processes),
                sum(process.threads() for process in processes),
                sum(process.descriptors() for process in processes),
                sum(process.sockets() for process in processes),
                connections(),
            )
        )
        time.sleep(SAMPLE_SECONDS)
    return Footprint(*map(median_low, zip(*samples, strict=True)))


def find_growth(first: Footprint, last: Footprint, *, memory_percent: float) -> list[str]:
    """The resources that grew too much; memory must grow by less than ``memory_percent``."""
    grown = (last.memory / first.memory - 1) * 100
    found = [f"memory grew by {grown:.1f} %"] if grown >= memory_percent else []
    for name, (number, fraction) in TOLERANCES.items():
        before, after = getattr(first, name), getattr(last, name)
        if after > before + max(number, int(before * fraction)):
            found.append(f"{name} grew from {before} to {after}")
    return found
