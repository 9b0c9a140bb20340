"""Figures in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from metrics import BOUNDS, COUNTERS, STAGES, Histogram, MetricsSnapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Every 14th bound, about a doubling each.
SCRAPED = range(0, len(BOUNDS), 14)


def prometheus(figures: Mapping[str, MetricsSnapshot]) -> bytes:
    """The figures of each process, with its name as the label ``process`` unless that is empty.

    A scraper can add series up, and take those that end for what they are.
    """
    registry = CollectorRegistry()
    registry.register(_Exposition(figures))
    return generate_latest(registry)


class _Exposition(Collector):
    def __init__(self, figures: Mapping[str, MetricsSnapshot]) -> None:
        self._figures = figures
        self._labels = ["process"] if any(figures) else []

    def collect(self) -> Iterable[Metric]:
        return [
            *map(self._histogram, STAGES),
            *map(self._counter, COUNTERS),
            self._labelled("errors", "errors by class", "error", lambda each: each.errors),
            self._labelled(
                "delivery_errors",
                "messages that did not arrive, by Twilio's code",
                "code",
                lambda each: each.delivery_errors,
            ),
        ]

    def _each(self) -> Iterator[tuple[list[str], MetricsSnapshot]]:
        for process, figures in self._figures.items():
            yield [process] if self._labels else [], figures

    def _histogram(self, stage: str) -> Metric:
        name = f"bridge_{stage.removesuffix('_time')}_seconds"
        family = HistogramMetricFamily(name, stage, labels=self._labels)
        for labels, figures in self._each():
            values = figures.stages[stage]
            family.add_metric(labels, _buckets(values), values.total)
        return family

    def _counter(self, name: str) -> Metric:
        family = CounterMetricFamily(f"bridge_{name}", name.replace("_", " "), labels=self._labels)
        for labels, figures in self._each():
            family.add_metric(labels, figures.counters[name])
        return family

    def _labelled(
        self, name: str, said: str, label: str, counted: Callable[[MetricsSnapshot], Counter[str]]
    ) -> Metric:
        family = CounterMetricFamily(f"bridge_{name}", said, labels=[*self._labels, label])
        for labels, figures in self._each():
            for value, number in counted(figures).items():
                family.add_metric([*labels, value], number)
        return family


def _buckets(values: Histogram) -> list[tuple[str, float]]:
    scraped = [
        (f"{BOUNDS[bound]:.6g}", float(sum(values.buckets[: bound + 1]))) for bound in SCRAPED
    ]
    return [*scraped, ("+Inf", float(values.count))]
