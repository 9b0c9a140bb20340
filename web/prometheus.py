"""Metrics in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from core.histogram import BOUNDS, Histogram
from metrics import COUNTERS, STAGES, MetricsSnapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Indices of the bounds that Prometheus gets: every 14th, each about twice the one before.
EXPOSED_BOUNDS = range(0, len(BOUNDS), 14)


def prometheus(snapshots: Mapping[str, MetricsSnapshot]) -> bytes:
    """Series for each process, by its name, which is the label ``process`` unless it is empty.

    They are not added up here: a sum falls when a process is no longer part of it, which Prometheus
    would take for a counter that restarted.
    """
    registry = CollectorRegistry()
    registry.register(_SnapshotCollector(snapshots))
    return generate_latest(registry)


class _SnapshotCollector(Collector):
    def __init__(self, snapshots: Mapping[str, MetricsSnapshot]) -> None:
        self._snapshots = snapshots
        self._label_names = ["process"] if any(snapshots) else []

    def collect(self) -> Iterable[Metric]:
        return [
            *map(self._histogram, STAGES),
            *map(self._counter, COUNTERS),
            self._labelled_counter("errors", "errors by class", "error", lambda it: it.errors),
            self._labelled_counter(
                "languages", "answers by language", "language", lambda it: it.languages
            ),
            self._labelled_counter(
                "limits", "limits that were met, by name", "limit", lambda it: it.limits
            ),
            self._labelled_counter(
                "delivery_errors",
                "messages that did not arrive, by Twilio's code",
                "code",
                lambda it: it.delivery_errors,
            ),
        ]

    def _labelled_snapshots(self) -> Iterator[tuple[list[str], MetricsSnapshot]]:
        for process, snapshot in self._snapshots.items():
            yield [process] if self._label_names else [], snapshot

    def _histogram(self, stage: str) -> Metric:
        name = f"bridge_{stage.removesuffix('_time')}_seconds"
        family = HistogramMetricFamily(name, stage, labels=self._label_names)
        for labels, snapshot in self._labelled_snapshots():
            histogram = snapshot.stages[stage]
            family.add_metric(labels, _cumulative_buckets(histogram), histogram.total)
        return family

    def _counter(self, name: str) -> Metric:
        description = name.replace("_", " ")
        family = CounterMetricFamily(f"bridge_{name}", description, labels=self._label_names)
        for labels, snapshot in self._labelled_snapshots():
            family.add_metric(labels, snapshot.counters[name])
        return family

    def _labelled_counter(
        self,
        name: str,
        description: str,
        label_name: str,
        select: Callable[[MetricsSnapshot], Counter[str]],
    ) -> Metric:
        label_names = [*self._label_names, label_name]
        family = CounterMetricFamily(f"bridge_{name}", description, labels=label_names)
        for labels, snapshot in self._labelled_snapshots():
            for value, number in select(snapshot).items():
                family.add_metric([*labels, value], number)
        return family


def _cumulative_buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Upper bounds, as text, and how many durations do not exceed them."""
    buckets = [
        (f"{BOUNDS[index]:.6g}", float(sum(histogram.buckets[: index + 1])))
        for index in EXPOSED_BOUNDS
    ]
    return [*buckets, ("+Inf", float(histogram.count))]
