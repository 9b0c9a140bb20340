"""Metrics in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from core.histogram import BOUNDS, Histogram
from http_clients.circuit_breakers import CallKind
from metrics import COUNTERS, STAGES, MetricsSnapshot
from turns.health import HealthReport
from web import prometheus_help
from web.advice import error_classes, is_explained
from web.history import LIMITS
from whatsapp.error_codes import ADVICE

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Indices of the bounds that Prometheus gets: every 14th, each about twice the one before.
EXPOSED_BOUNDS = range(0, len(BOUNDS), 14)
KNOWN_ERRORS = tuple(name for name, each in error_classes().items() if is_explained(each))


def prometheus(
    snapshots: Mapping[str, MetricsSnapshot],
    *,
    health: HealthReport | None = None,
    release: str = "",
) -> bytes:
    """Series for each process, by its name, which is the label ``process`` unless it is empty.

    They are not added up here: a sum falls when a process is no longer part of it, which Prometheus
    would take for a counter that restarted. ``health`` becomes gauges of the whole deployment.
    """
    registry = CollectorRegistry()
    registry.register(_SnapshotCollector(snapshots))
    if health is not None:
        registry.register(_HealthCollector(health, release))
    return generate_latest(registry)


class _HealthCollector(Collector):
    """While the database fails, only that is known: the other gauges of the backlog are absent."""

    def __init__(self, health: HealthReport, release: str) -> None:
        self._health = health
        self._release = release

    def collect(self) -> Iterable[Metric]:
        health = self._health
        info = GaugeMetricFamily("bridge_build_info", "The running release.", labels=["release"])
        info.add_metric([self._release], 1)
        yield info
        yield _gauge("healthy", "Whether messages are answered (1) or not (0).", health.healthy)
        yield _gauge("database_up", "Whether the database answers.", health.database)
        if health.database:
            yield from self._backlog()

    def _backlog(self) -> Iterator[Metric]:
        health = self._health
        yield _gauge("turns_waiting", "Turns that wait for a worker.", health.waiting)
        yield _gauge("turns_running", "Turns that are running.", health.running)
        yield _gauge(
            "oldest_waiting_seconds",
            "Seconds that the oldest of the waiting turns has waited.",
            health.oldest_waiting,
        )
        yield _gauge("workers", "Processes that run turns and are alive.", health.workers)
        up = GaugeMetricFamily(
            "bridge_provider_up", "Whether such calls are made.", labels=["provider"]
        )
        for name in get_args(CallKind):
            up.add_metric([name], name not in health.providers_down)
        yield up


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(f"bridge_{name}", description, value=float(value))


class _SnapshotCollector(Collector):
    def __init__(self, snapshots: Mapping[str, MetricsSnapshot]) -> None:
        self._snapshots = snapshots
        self._label_names = ["process"] if any(snapshots) else []

    def collect(self) -> Iterable[Metric]:
        return [
            *map(self._histogram, STAGES),
            *map(self._counter, COUNTERS),
            self._labelled_counter("errors", prometheus_help.ERRORS, "error", KNOWN_ERRORS),
            self._labelled_counter("languages", prometheus_help.LANGUAGES, "language", ()),
            self._labelled_counter("limits", prometheus_help.LIMITS, "limit", tuple(LIMITS)),
            self._labelled_counter(
                "delivery_errors", prometheus_help.DELIVERY_ERRORS, "code", tuple(map(str, ADVICE))
            ),
        ]

    def _labelled_snapshots(self) -> Iterator[tuple[list[str], MetricsSnapshot]]:
        for process, snapshot in self._snapshots.items():
            yield [process] if self._label_names else [], snapshot

    def _histogram(self, stage: str) -> Metric:
        name = f"bridge_{stage.removesuffix('_time')}_seconds"
        family = HistogramMetricFamily(
            name, prometheus_help.STAGES[stage], labels=self._label_names
        )
        for labels, snapshot in self._labelled_snapshots():
            histogram = snapshot.stages[stage]
            family.add_metric(labels, _cumulative_buckets(histogram), histogram.total)
        return family

    def _counter(self, name: str) -> Metric:
        description = prometheus_help.COUNTERS[name]
        family = CounterMetricFamily(f"bridge_{name}", description, labels=self._label_names)
        for labels, snapshot in self._labelled_snapshots():
            family.add_metric(labels, snapshot.counters[name])
        return family

    def _labelled_counter(
        self, name: str, description: str, label_name: str, known: Sequence[str]
    ) -> Metric:
        label_names = [*self._label_names, label_name]
        family = CounterMetricFamily(f"bridge_{name}", description, labels=label_names)
        for labels, snapshot in self._labelled_snapshots():
            # Those of which there are none yet come too: Prometheus sees no increase from nothing
            # to one.
            for value, number in (dict.fromkeys(known, 0) | snapshot.labelled(name)).items():
                family.add_metric([*labels, value], number)
        return family


def _cumulative_buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Upper bounds, as text, and how many durations do not exceed them."""
    buckets = [
        (f"{BOUNDS[index]:.6g}", float(sum(histogram.buckets[: index + 1])))
        for index in EXPOSED_BOUNDS
    ]
    return [*buckets, ("+Inf", float(histogram.count))]
