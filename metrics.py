"""Timings and counters of this process since its start, kept in memory.

``Metrics`` collects them. ``MetricsSnapshot`` is their state at one moment, as a value that can be
saved, merged with those of other processes, and reported. Timings are histograms with fixed
buckets: memory does not grow with traffic, and merging loses nothing.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

# Timings, in seconds. All are reported from the start, with count 0.
STAGES = (
    "download_time",
    "stt_time",
    "agentforce_time",
    "tts_time",
    "total_time",
    "ack_time",
    "queue_time",
    "session_time",
    "convert_time",
    "send_time",
    "voice_reply_time",
    "overhead_time",
    "answer_cache_age",
)

COUNTERS = (
    "messages_received",
    "messages_duplicate",
    "messages_refused",
    "messages_limited",
    "turns_answered",
    "turns_failed",
    "voice_notes_received",
    "voice_notes_sent",
    "voice_notes_failed",
    "voice_notes_resent",
    "texts_sent",
    "texts_resent",
    "messages_delivered",
    "messages_read",
    "messages_undelivered",
    "messages_failed",
    "escalations",
    "sessions_started",
    "sessions_renewed",
    "sessions_spare_kept",
    "sessions_spare_used",
    "tokens_fetched",
    "still_working_sent",
    "speech_characters",
    "speech_characters_saved",
    "speech_characters_discarded",
    "speech_cache_hits",
    "speech_cache_misses",
    "answer_cache_hits",
    "answer_cache_misses",
    "typing_failed",
    "signatures_rejected",
    "breakers_opened",
    "calls_not_made",
)

# Counters that are also counted by the hour.
HOURLY = ("messages_received", "turns_failed")
# Seconds in an hour.
HOUR = 3600
# The current hour and the 24 before it.
HOURS_KEPT = 25

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
        histogram = cls(total=saved["total"], smallest=saved["min"], largest=saved["max"])
        for index, number in enumerate(saved["buckets"], saved["first"]):
            histogram.buckets[min(index, len(BOUNDS))] += number
        histogram.count = sum(histogram.buckets)
        return histogram


def _empty_stages() -> dict[str, Histogram]:
    return {stage: Histogram() for stage in STAGES}


def _zero_counters() -> Counter[str]:
    return Counter(dict.fromkeys(COUNTERS, 0))


@dataclass
class MetricsSnapshot:
    """The metrics of one process, or of several together. Not thread-safe."""

    stages: dict[str, Histogram] = field(default_factory=_empty_stages)
    counters: Counter[str] = field(default_factory=_zero_counters)
    # By the name of the error's class.
    errors: Counter[str] = field(default_factory=Counter)
    # Messages that Twilio accepted and did not deliver, by Twilio's error code.
    delivery_errors: Counter[str] = field(default_factory=Counter)
    # The counters of ``HOURLY``, by hours since the epoch.
    hours: dict[int, Counter[str]] = field(default_factory=dict)
    # When counting began, in seconds since the epoch.
    since: float = field(default_factory=time.time, compare=False)

    @classmethod
    def merged(cls, snapshots: Iterable[MetricsSnapshot]) -> MetricsSnapshot:
        """The metrics of several processes together."""
        total = cls()
        for snapshot in snapshots:
            total.merge(snapshot)
        return total

    def merge(self, other: MetricsSnapshot) -> None:
        """Add the metrics of another process; ``other`` does not change."""
        for stage, histogram in other.stages.items():
            self.stages[stage].merge(histogram)
        self.counters.update(other.counters)
        self.errors.update(other.errors)
        for hour, numbers in other.hours.items():
            self.hours.setdefault(hour, Counter()).update(numbers)
        self.since = min(self.since, other.since)
        self.delivery_errors.update(other.delivery_errors)

    def count(self, counter: str, number: int, now: float) -> None:
        """Add to one of ``COUNTERS``; ``now`` in seconds since the epoch."""
        self.counters[counter] += number
        if counter not in HOURLY:
            return
        hour = int(now // HOUR)
        if hour not in self.hours:
            self.hours = self._hours_since(hour - HOURS_KEPT + 1) | {hour: Counter()}
        self.hours[hour][counter] += number

    def to_json(self) -> dict[str, Any]:
        """For ``from_json``; histograms and counters that are empty are left out."""
        return {
            "stages": {
                stage: histogram.to_json()
                for stage, histogram in self.stages.items()
                if histogram.count
            },
            "counters": {name: number for name, number in self.counters.items() if number},
            "errors": dict(self.errors),
            "delivery_errors": dict(self.delivery_errors),
            "hours": {str(hour): dict(numbers) for hour, numbers in self.hours.items()},
            "since": self.since,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> MetricsSnapshot:
        """The reverse of ``to_json``.

        Another release may have saved it: unknown names are ignored, and missing ones count as 0.
        """
        snapshot = cls()
        stages = saved.get("stages", {})
        for stage in stages.keys() & snapshot.stages.keys():
            snapshot.stages[stage] = Histogram.from_json(stages[stage])
        counters = saved.get("counters", {})
        for name in counters.keys() & snapshot.counters.keys():
            snapshot.counters[name] = counters[name]
        snapshot.errors.update(saved.get("errors", {}))
        snapshot.delivery_errors.update(saved.get("delivery_errors", {}))
        for hour, numbers in saved.get("hours", {}).items():
            snapshot.hours[int(hour)] = Counter(numbers)
        snapshot.since = saved.get("since", snapshot.since)
        return snapshot

    def report(self, uptime: float) -> dict[str, object]:
        """The JSON of ``GET /metrics``; ``uptime`` in seconds."""
        oldest_hour = int(time.time() // HOUR) - HOURS_KEPT + 1
        return {
            **{stage: histogram.summary() for stage, histogram in self.stages.items()},
            "counters": dict(self.counters),
            "errors": dict(self.errors),
            "delivery_errors": dict(self.delivery_errors),
            "hours": [
                {"from": hour * HOUR, **{name: numbers[name] for name in HOURLY}}
                for hour, numbers in sorted(self._hours_since(oldest_hour).items())
            ],
            "since": self.since,
            "uptime": uptime,
        }

    def _hours_since(self, first: int) -> dict[int, Counter[str]]:
        return {hour: numbers for hour, numbers in self.hours.items() if hour >= first}


class Metrics:
    """Collects the ``STAGES`` and ``COUNTERS`` of this process; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot = MetricsSnapshot()
        self._started = time.monotonic()

    def record_time(self, stage: str, seconds: float) -> None:
        """Add a duration to one of ``STAGES``."""
        with self._lock:
            self._snapshot.stages[stage].add(max(seconds, 0.0))

    @contextmanager
    def timer(self, stage: str) -> Iterator[None]:
        """Add the duration of the ``with`` block, unless it raises."""
        started = time.monotonic()
        yield
        self.record_time(stage, time.monotonic() - started)

    def count(self, counter: str, number: int = 1) -> None:
        """Add to one of ``COUNTERS``."""
        if counter not in self._snapshot.counters:
            raise KeyError(counter)
        with self._lock:
            self._snapshot.count(counter, number, time.time())

    def count_error(self, error: BaseException) -> None:
        """Count an error under the name of its class (a leaf of ``core/errors.py``)."""
        with self._lock:
            self._snapshot.errors[type(error).__name__] += 1

    def count_undelivered(self, code: int | None) -> None:
        """Count a message that Twilio accepted and did not deliver, under Twilio's code."""
        with self._lock:
            self._snapshot.delivery_errors[str(code or "none")] += 1

    def snapshot(self) -> MetricsSnapshot:
        """A copy of all metrics as they are now."""
        copy = MetricsSnapshot()
        with self._lock:
            copy.merge(self._snapshot)
        return copy

    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started
