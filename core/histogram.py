"""Histograms of durations with fixed buckets: they do not grow, and merging loses nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Upper bounds of the buckets in seconds: 5 % steps from 1 ms to 10 min, so that a percentile is off
# by 2.5 % at most.
BOUNDS = tuple(0.001 * 1.05**step for step in range(274))


@dataclass
class Histogram:
    """Durations in seconds, counted in buckets; the last bucket is for those above ``BOUNDS``."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    count: int = 0
    total: float = 0.0
    smallest: float = 0.0
    largest: float = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.smallest = min(self.smallest, seconds) if self.count else seconds
        self.largest = max(self.largest, seconds)
        self.count += 1
        self.total += seconds

    def percentile(self, percent: float) -> float:
        """The duration that ``percent`` % of the durations do not exceed; 0 if there are none."""
        if not self.count:
            return 0.0
        rank = self.count * percent / 100
        cumulative = 0
        for index, number in enumerate(self.buckets):
            cumulative += number
            if number and cumulative >= rank:
                middle = BOUNDS[min(index, len(BOUNDS) - 1)] / 1.025
                return min(max(middle, self.smallest), self.largest)
        return self.largest

    def summary(self) -> dict[str, float]:
        """Count, average, minimum, maximum and percentiles."""
        return {
            "count": self.count,
            "avg": self.total / self.count if self.count else 0.0,
            "min": self.smallest,
            "max": self.largest,
            "p50": self.percentile(50),
            "p95": self.percentile(95),
            "p99": self.percentile(99),
        }

    def merge(self, other: Histogram) -> None:
        """Add the durations of another histogram."""
        if not other.count:
            return
        self.buckets = [
            ours + theirs for ours, theirs in zip(self.buckets, other.buckets, strict=True)
        ]
        self.smallest = min(self.smallest, other.smallest) if self.count else other.smallest
        self.largest = max(self.largest, other.largest)
        self.count += other.count
        self.total += other.total

    def to_json(self) -> dict[str, Any]:
        """For ``from_json``; only the buckets from the first to the last that is used.

        The histogram must not be empty.
        """
        used = [index for index, number in enumerate(self.buckets) if number]
        return {
            "first": used[0],
            "buckets": self.buckets[used[0] : used[-1] + 1],
            "total": self.total,
            "min": self.smallest,
            "max": self.largest,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Histogram:
        """The reverse of ``to_json``; a bucket beyond ours is counted in our last."""
        histogram = cls()
        histogram.add_json(saved)
        return histogram

    def add_json(self, saved: Mapping[str, Any]) -> None:
        """Add the durations of a histogram that ``to_json`` saved; looks at its buckets only."""
        for index, number in enumerate(saved["buckets"], saved["first"]):
            self.buckets[min(index, len(BOUNDS))] += number
        self.smallest = min(self.smallest, saved["min"]) if self.count else saved["min"]
        self.largest = max(self.largest, saved["max"])
        self.count += sum(saved["buckets"])
        self.total += saved["total"]
