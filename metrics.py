"""Timings and counters, in memory and bounded for ever.

Timings are kept as histograms with fixed buckets, so that memory does not grow with traffic and
the figures of several processes can be added up. ``/metrics`` shows them as JSON with the
predecessor's keys, or in Prometheus' text format.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# The predecessor's five, then ours (design.md §5). All are listed from the start, with count 0.
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
)

COUNTERS = (
    "messages_received",
    "messages_duplicate",
    "messages_refused",
    "turns_answered",
    "turns_failed",
    "voice_notes_received",
    "voice_notes_sent",
    "voice_notes_failed",
    "texts_sent",
    "escalations",
    "sessions_started",
    "sessions_renewed",
    "tokens_fetched",
    "still_working_sent",
    "speech_characters",
    "typing_failed",
    "signatures_rejected",
)

# 5 % steps from 1 ms to 10 min: a percentile is off by 2.5 % at most.
BOUNDS = tuple(0.001 * 1.05**step for step in range(274))
# What a scraper gets: every 14th bound, about a doubling each.
SCRAPED = range(0, len(BOUNDS), 14)


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
        """The predecessor's four figures and three percentiles, in seconds."""
        return {
            "count": self.count,
            "avg": self.total / self.count if self.count else 0.0,
            "min": self.smallest,
            "max": self.largest,
            "p50": self.percentile(50),
            "p95": self.percentile(95),
            "p99": self.percentile(99),
        }


class Metrics:
    """What this process did since it started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages = {stage: Histogram() for stage in STAGES}
        self._counters = Counter(dict.fromkeys(COUNTERS, 0))
        self._errors: Counter[str] = Counter()
        self._started = time.monotonic()

    def time(self, stage: str, seconds: float) -> None:
        """Add a duration to one of ``STAGES``."""
        with self._lock:
            self._stages[stage].add(max(seconds, 0.0))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the duration of the block, unless it raises."""
        started = time.monotonic()
        yield
        self.time(stage, time.monotonic() - started)

    def count(self, counter: str, number: int = 1) -> None:
        """Add to one of ``COUNTERS``."""
        if counter not in self._counters:
            raise KeyError(counter)
        with self._lock:
            self._counters[counter] += number

    def failed(self, error: BaseException) -> None:
        """Count an error under the name of its class (a leaf of ``errors.py``)."""
        with self._lock:
            self._errors[type(error).__name__] += 1

    def report(self) -> dict[str, object]:
        """The JSON of ``GET /metrics``."""
        with self._lock:
            return {
                **{stage: values.summary() for stage, values in self._stages.items()},
                "counters": dict(self._counters),
                "errors": dict(self._errors),
                "uptime": time.monotonic() - self._started,
            }

    def prometheus(self) -> bytes:
        """The same in Prometheus' text format, version 0.0.4."""
        registry = CollectorRegistry()
        registry.register(_Exposition(self))
        return generate_latest(registry)

    def families(self) -> Iterable[Metric]:
        """Prometheus families of all figures."""
        with self._lock:
            for stage, values in self._stages.items():
                yield _histogram_family(stage, values)
            for name, number in self._counters.items():
                yield CounterMetricFamily(f"bridge_{name}", name.replace("_", " "), value=number)
            errors = CounterMetricFamily("bridge_errors", "errors by class", labels=["error"])
            for name, number in self._errors.items():
                errors.add_metric([name], number)
            yield errors


class _Exposition(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return list(self._metrics.families())


def _histogram_family(stage: str, values: Histogram) -> Metric:
    name = f"bridge_{stage.removesuffix('_time')}_seconds"
    scraped = [
        (f"{BOUNDS[bound]:.6g}", float(sum(values.buckets[: bound + 1]))) for bound in SCRAPED
    ]
    buckets = [*scraped, ("+Inf", float(values.count))]
    return HistogramMetricFamily(name, stage, buckets=buckets, sum_value=values.total)
