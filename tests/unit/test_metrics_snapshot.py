"""Figures that are added up over processes, kept and shown."""

from __future__ import annotations

import json
import math
import random
import statistics
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import BOUNDS, COUNTERS, HOUR, HOURS_KEPT, STAGES, Histogram, MetricsSnapshot

# A few stages and counters, so that those of two processes meet.
EVENTS = st.one_of(
    st.tuples(st.sampled_from(STAGES[:3]), st.floats(0, 2000)),
    st.tuples(st.sampled_from(COUNTERS[:3]), st.integers(1, 9)),
    st.tuples(st.sampled_from(["AgentBusy", "MediaMissing", "SendError"]), st.none()),
)
PROCESSES = st.lists(st.lists(EVENTS, max_size=30), min_size=1, max_size=5)


def figures_of(events: list[tuple[str, float | None]]) -> MetricsSnapshot:
    figures = MetricsSnapshot()
    for name, amount in events:
        if amount is None:
            figures.errors[name] += 1
        elif name in STAGES:
            figures.stages[name].add(amount)
        else:
            figures.counters[name] += int(amount)
    return figures


def together(processes: list[MetricsSnapshot]) -> MetricsSnapshot:
    merged = MetricsSnapshot()
    for figures in processes:
        merged.merge(figures)
    return merged


def assert_same(one: MetricsSnapshot, other: MetricsSnapshot) -> None:
    """Equal, but for the last digit of sums: floats depend on the order of adding."""
    for stage in STAGES:
        total = other.stages[stage].total
        assert one.stages[stage].total == pytest.approx(total)
        one.stages[stage].total = total
    assert one == other


def exact(values: list[float], percent: int) -> float:
    """The smallest value that ``percent`` % of the values do not exceed."""
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


@given(st.lists(st.floats(0.001, 600), min_size=1, max_size=300))
def test_percentiles_are_right_within_five_percent(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for percent in (50, 95, 99):
        assert histogram.percentile(percent) == pytest.approx(exact(values, percent), rel=0.05)
    assert histogram.percentile(100) <= max(values)
    assert histogram.percentile(0) >= min(values)
    assert histogram.summary()["avg"] == pytest.approx(statistics.fmean(values))


@pytest.mark.parametrize("value", [0.0, 1e-9, 0.0004, 0.001, 609.0, 1e6])
def test_one_value_is_all_its_percentiles_even_out_of_range(value: float) -> None:
    histogram = Histogram()
    histogram.add(value)
    summary = histogram.summary()
    assert {summary[key] for key in ("avg", "min", "max", "p50", "p95", "p99")} == {value}


def test_the_range_is_from_a_millisecond_to_ten_minutes() -> None:
    assert BOUNDS[0] == 0.001
    assert BOUNDS[-1] > 600


@given(PROCESSES, st.randoms(use_true_random=False))
def test_figures_of_several_processes_are_those_of_one_that_saw_all(
    processes: list[list[tuple[str, float | None]]], chance: random.Random
) -> None:
    merged = [figures_of(events) for events in processes]
    while len(merged) > 1:
        chance.shuffle(merged)
        merged[0].merge(merged.pop())
    one = figures_of([event for events in processes for event in events])
    assert_same(merged[0], one)
    for stage in STAGES:
        for percent in (50, 95, 99):
            percentile = merged[0].stages[stage].percentile(percent)
            assert percentile == one.stages[stage].percentile(percent)


def test_what_is_added_stays_as_it_was() -> None:
    ours, theirs = figures_of([("stt_time", 1.0)]), figures_of([("stt_time", 2.0)])
    ours.merge(theirs)
    ours.stages["stt_time"].add(3.0)
    assert theirs == figures_of([("stt_time", 2.0)])


@pytest.mark.parametrize("order", [1, -1])
def test_a_process_that_did_nothing_has_no_minimum(order: int) -> None:
    merged = together(
        [MetricsSnapshot(), figures_of([("stt_time", 1.5), ("stt_time", 2.5)])][::order]
    )
    summary = merged.stages["stt_time"].summary()
    assert (summary["count"], summary["min"], summary["max"]) == (2, 1.5, 2.5)
    assert together([MetricsSnapshot(), MetricsSnapshot()]) == MetricsSnapshot()


@given(st.lists(EVENTS, max_size=60))
def test_figures_are_the_same_after_being_kept(events: list[tuple[str, float | None]]) -> None:
    figures = figures_of(events)
    assert MetricsSnapshot.from_json(json.loads(json.dumps(figures.to_json()))) == figures


def test_the_last_day_is_counted_by_the_hour() -> None:
    now = time.time()
    one, other = MetricsSnapshot(), MetricsSnapshot()
    for back in range(40, -1, -1):
        one.count("messages_received", 2, now - back * HOUR)
    other.count("messages_received", 3, now)
    other.count("turns_failed", 1, now)
    other.count("texts_sent", 1, now)
    assert len(one.hours) == HOURS_KEPT
    kept = MetricsSnapshot.from_json(json.loads(json.dumps(other.to_json())))
    hours = MetricsSnapshot.merged([one, kept]).report(0)["hours"]
    assert isinstance(hours, list)
    assert hours[-1] == {
        "from": now // HOUR * HOUR,
        "messages_received": 5,
        "turns_failed": 1,
    }
    assert [hour["messages_received"] for hour in hours] == [2] * (HOURS_KEPT - 1) + [5]


def test_hours_of_a_process_that_ended_long_ago_are_not_shown() -> None:
    figures = MetricsSnapshot()
    figures.count("messages_received", 1, time.time() - HOURS_KEPT * HOUR)
    assert figures.report(0)["hours"] == []


def test_counting_began_with_the_process_that_started_first() -> None:
    former = MetricsSnapshot(since=1000.0)
    kept = MetricsSnapshot.from_json(json.loads(json.dumps(former.to_json())))
    assert MetricsSnapshot.merged([MetricsSnapshot(), kept]).report(0)["since"] == 1000.0


def test_a_busy_process_needs_a_few_kilobytes() -> None:
    """A day with a voice turn every second, in which all stages scatter widely."""
    figures = MetricsSnapshot()
    chance = random.Random(1)
    for position, stage in enumerate(STAGES):
        for _ in range(10_000):
            figures.stages[stage].add(chance.lognormvariate(-4 + position * 0.6, 0.5))
    figures.counters.update(dict.fromkeys(COUNTERS, 10_000))
    figures.errors.update({f"SomeKindOf{number}Error": 100 for number in range(20)})
    for _ in range(3):
        figures.merge(figures)
    assert figures.stages["total_time"].count == 80_000
    assert len(json.dumps(figures.to_json())) < 16 * 1024


def test_figures_of_another_release_are_taken_as_far_as_they_are_known() -> None:
    newer = figures_of([("stt_time", 1.0), ("texts_sent", 2), ("AgentBusy", None)])
    newer.stages["dream_time"] = Histogram()
    newer.stages["dream_time"].add(5.0)
    newer.counters["dreams"] = 3
    newer.errors["BadDream"] = 1
    known = figures_of([("stt_time", 1.0), ("texts_sent", 2), ("AgentBusy", None)])
    known.errors["BadDream"] = 1
    assert MetricsSnapshot.from_json(newer.to_json()) == known


@pytest.mark.parametrize("left", [[], ["stages"], ["counters"], ["errors"]])
def test_what_an_older_release_did_not_keep_counts_as_none(left: list[str]) -> None:
    kept = figures_of([("stt_time", 1.0), ("texts_sent", 2), ("AgentBusy", None)]).to_json()
    figures = MetricsSnapshot.from_json({key: kept[key] for key in left})
    assert figures.stages.keys() == set(STAGES)
    assert figures.counters.keys() == set(COUNTERS)
    assert figures.stages["stt_time"].count == ("stages" in left)
    assert figures.counters["texts_sent"] == 2 * ("counters" in left)
    assert figures.errors == Counter({"AgentBusy": 1} if "errors" in left else {})


def test_a_bucket_beyond_ours_counts_as_our_last() -> None:
    kept = figures_of([("stt_time", 1e6)]).stages["stt_time"].to_json()
    values = Histogram.from_json(kept | {"first": len(BOUNDS) + 50})
    assert values.count == 1
    assert values.percentile(50) == 1e6
