"""What this process did since it started, as timings and counters in memory.

``MetricsSnapshot`` is such a state as a value: it can be added up, kept and shown. Timings are
histograms with fixed buckets, so that memory does not grow with traffic and the figures of several
processes can be added up.
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

# The first five are those of docs/upgrading.md. All are listed from the start, with count 0.
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

# Counted by the hour too, for the last day.
HOURLY = ("messages_received", "turns_failed")
HOUR = 3600
# The hour that runs and a whole day behind it.
HOURS_KEPT = 25

# 5 % steps from 1 ms to 10 min: a percentile is off by 2.5 % at most.
BOUNDS = tuple(0.001 * 1.05**step for step in range(274))


@dataclass
class Histogram:
    """Durations in seconds, counted in the buckets that ``BOUNDS`` limits from above."""

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
        """The duration that ``percent`` % of the values do not exceed; 0 without values."""
        if not self.count:
            return 0.0
        wanted = self.count * percent / 100
        seen = 0
        for index, number in enumerate(self.buckets):
            seen += number
            if number and seen >= wanted:
                middle = BOUNDS[min(index, len(BOUNDS) - 1)] / 1.025
                return min(max(middle, self.smallest), self.largest)
        return self.largest

    def summary(self) -> dict[str, float]:
        """The count; average, minimum, maximum and three percentiles in seconds."""
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
        """Add what another one counted."""
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
        """Its buckets from the first used one to the last; there has to be one."""
        used = [index for index, number in enumerate(self.buckets) if number]
        return {
            "first": used[0],
            "buckets": self.buckets[used[0] : used[-1] + 1],
            "total": self.total,
            "min": self.smallest,
            "max": self.largest,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Histogram:
        """The histogram that was kept; a bucket we do not have counts as the last one."""
        values = cls(total=kept["total"], smallest=kept["min"], largest=kept["max"])
        for index, number in enumerate(kept["buckets"], kept["first"]):
            values.buckets[min(index, len(BOUNDS))] += number
        values.count = sum(values.buckets)
        return values


def _stages() -> dict[str, Histogram]:
    return {stage: Histogram() for stage in STAGES}


def _counters() -> Counter[str]:
    return Counter(dict.fromkeys(COUNTERS, 0))


@dataclass
class MetricsSnapshot:
    """What one process, or several together, did since their start. Not thread-safe."""

    stages: dict[str, Histogram] = field(default_factory=_stages)
    counters: Counter[str] = field(default_factory=_counters)
    errors: Counter[str] = field(default_factory=Counter)
    # By Twilio's codes, for messages that it took.
    delivery_errors: Counter[str] = field(default_factory=Counter)
    # By hours since 1970.
    hours: dict[int, Counter[str]] = field(default_factory=dict)
    # When counting began, in seconds since 1970.
    since: float = field(default_factory=time.time, compare=False)

    @classmethod
    def merged(cls, several: Iterable[MetricsSnapshot]) -> MetricsSnapshot:
        """The figures of several processes as those of one."""
        figures = cls()
        for each in several:
            figures.merge(each)
        return figures

    def merge(self, other: MetricsSnapshot) -> None:
        """Add the figures of another process; ``other`` stays as it is."""
        for stage, values in other.stages.items():
            self.stages[stage].merge(values)
        self.counters.update(other.counters)
        self.errors.update(other.errors)
        for hour, numbers in other.hours.items():
            self.hours.setdefault(hour, Counter()).update(numbers)
        self.since = min(self.since, other.since)
        self.delivery_errors.update(other.delivery_errors)

    def count(self, counter: str, number: int, now: float) -> None:
        """Add to one of ``COUNTERS``; ``now`` in seconds since 1970."""
        self.counters[counter] += number
        if counter not in HOURLY:
            return
        hour = int(now // HOUR)
        if hour not in self.hours:
            self.hours = self._hours_since(hour - HOURS_KEPT + 1) | {hour: Counter()}
        self.hours[hour][counter] += number

    def to_json(self) -> dict[str, Any]:
        """As JSON; what is 0 is left out."""
        stages = {stage: values.to_json() for stage, values in self.stages.items() if values.count}
        return {
            "stages": stages,
            "counters": {name: number for name, number in self.counters.items() if number},
            "errors": dict(self.errors),
            "delivery_errors": dict(self.delivery_errors),
            "hours": {str(hour): dict(numbers) for hour, numbers in self.hours.items()},
            "since": self.since,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> MetricsSnapshot:
        """The figures that were kept, by another release perhaps: what is not ours is dropped."""
        figures = cls()
        stages = kept.get("stages", {})
        for stage in stages.keys() & figures.stages.keys():
            figures.stages[stage] = Histogram.from_json(stages[stage])
        counters = kept.get("counters", {})
        for name in counters.keys() & figures.counters.keys():
            figures.counters[name] = counters[name]
        figures.errors.update(kept.get("errors", {}))
        figures.delivery_errors.update(kept.get("delivery_errors", {}))
        for hour, numbers in kept.get("hours", {}).items():
            figures.hours[int(hour)] = Counter(numbers)
        figures.since = kept.get("since", figures.since)
        return figures

    def report(self, uptime: float) -> dict[str, object]:
        """The JSON of ``GET /metrics``; ``uptime`` in seconds."""
        first = int(time.time() // HOUR) - HOURS_KEPT + 1
        return {
            **{stage: values.summary() for stage, values in self.stages.items()},
            "counters": dict(self.counters),
            "errors": dict(self.errors),
            "delivery_errors": dict(self.delivery_errors),
            "hours": [
                {"from": hour * HOUR, **{name: numbers[name] for name in HOURLY}}
                for hour, numbers in sorted(self._hours_since(first).items())
            ],
            "since": self.since,
            "uptime": uptime,
        }

    def _hours_since(self, first: int) -> dict[int, Counter[str]]:
        return {hour: numbers for hour, numbers in self.hours.items() if hour >= first}


class Metrics:
    """Thread-safe. ``metrics.py`` says what there is to be timed and counted."""

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
        """Add the duration of the block, unless it raises."""
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
        """Count a message that Twilio took, but that did not arrive, under Twilio's code."""
        with self._lock:
            self._snapshot.delivery_errors[str(code or "none")] += 1

    def snapshot(self) -> MetricsSnapshot:
        """A copy of all figures as they are now."""
        copy = MetricsSnapshot()
        with self._lock:
            copy.merge(self._snapshot)
        return copy

    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started
