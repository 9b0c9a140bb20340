"""Snapshots of metrics are merged over processes, saved and reported."""

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

from core.histogram import BOUNDS, Histogram
from metrics import COUNTERS, HOUR, HOURS_KEPT, STAGES, MetricsSnapshot

# Few stages and counters, so that two processes often share one.
EVENTS = st.one_of(
    st.tuples(st.sampled_from(STAGES[:3]), st.floats(0, 2000)),
    st.tuples(st.sampled_from(COUNTERS[:3]), st.integers(1, 9)),
    st.tuples(st.sampled_from(["AgentBusy", "MediaMissing", "SendError"]), st.none()),
)
PROCESSES = st.lists(st.lists(EVENTS, max_size=30), min_size=1, max_size=5)


def snapshot_of(events: list[tuple[str, float | None]]) -> MetricsSnapshot:
    snapshot = MetricsSnapshot()
    for name, amount in events:
        if amount is None:
            snapshot.errors[name] += 1
        elif name in STAGES:
            snapshot.stages[name].add(amount)
        else:
            snapshot.counters[name] += int(amount)
    return snapshot


def saved_and_loaded(snapshot: MetricsSnapshot) -> MetricsSnapshot:
    return MetricsSnapshot.from_json(json.loads(json.dumps(snapshot.to_json())))


def assert_same(one: MetricsSnapshot, other: MetricsSnapshot) -> None:
    """Equal up to rounding: a sum of floats depends on their order."""
    for stage in STAGES:
        total = other.stages[stage].total
        assert one.stages[stage].total == pytest.approx(total)
        one.stages[stage].total = total
    assert one == other


def exact_percentile(values: list[float], percent: int) -> float:
    """The smallest of the values that ``percent`` % of them do not exceed."""
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


@given(st.lists(st.floats(0.001, 600), min_size=1, max_size=300))
def test_percentiles_are_within_five_percent(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for percent in (50, 95, 99):
        assert histogram.percentile(percent) == pytest.approx(
            exact_percentile(values, percent), rel=0.05
        )
    assert histogram.percentile(100) <= max(values)
    assert histogram.percentile(0) >= min(values)
    assert histogram.summary()["avg"] == pytest.approx(statistics.fmean(values))


@pytest.mark.parametrize("value", [0.0, 1e-9, 0.0004, 0.001, 609.0, 1e6])
def test_a_single_value_is_every_percentile_even_out_of_range(value: float) -> None:
    histogram = Histogram()
    histogram.add(value)
    summary = histogram.summary()
    assert {summary[key] for key in ("avg", "min", "max", "p50", "p95", "p99")} == {value}


def test_the_range_is_from_a_millisecond_to_ten_minutes() -> None:
    assert BOUNDS[0] == 0.001
    assert BOUNDS[-1] > 600


@given(PROCESSES, st.randoms(use_true_random=False))
def test_merging_processes_equals_one_process_that_saw_everything(
    processes: list[list[tuple[str, float | None]]], chance: random.Random
) -> None:
    merged = [snapshot_of(events) for events in processes]
    while len(merged) > 1:
        chance.shuffle(merged)
        merged[0].merge(merged.pop())
    one = snapshot_of([event for events in processes for event in events])
    assert_same(merged[0], one)
    for stage in STAGES:
        for percent in (50, 95, 99):
            percentile = merged[0].stages[stage].percentile(percent)
            assert percentile == one.stages[stage].percentile(percent)


def test_merging_does_not_change_the_merged_snapshot() -> None:
    ours, theirs = snapshot_of([("stt_time", 1.0)]), snapshot_of([("stt_time", 2.0)])
    ours.merge(theirs)
    ours.stages["stt_time"].add(3.0)
    assert theirs == snapshot_of([("stt_time", 2.0)])


@pytest.mark.parametrize("order", [1, -1])
def test_an_empty_snapshot_does_not_lower_the_minimum(order: int) -> None:
    snapshots = [MetricsSnapshot(), snapshot_of([("stt_time", 1.5), ("stt_time", 2.5)])]
    merged = MetricsSnapshot.merged(snapshots[::order])
    summary = merged.stages["stt_time"].summary()
    assert (summary["count"], summary["min"], summary["max"]) == (2, 1.5, 2.5)
    assert MetricsSnapshot.merged([MetricsSnapshot(), MetricsSnapshot()]) == MetricsSnapshot()


@given(st.lists(EVENTS, max_size=60))
def test_saving_and_loading_changes_nothing(events: list[tuple[str, float | None]]) -> None:
    snapshot = snapshot_of(events)
    assert saved_and_loaded(snapshot) == snapshot


def test_hours_of_the_last_day_are_reported() -> None:
    now = time.time()
    one, other = MetricsSnapshot(), MetricsSnapshot()
    for back in range(40, -1, -1):
        one.count("messages_received", 2, now - back * HOUR)
    other.count("messages_received", 3, now)
    other.count("turns_failed", 1, now)
    other.count("texts_sent", 1, now)
    assert len(one.hours) == HOURS_KEPT
    hours = MetricsSnapshot.merged([one, saved_and_loaded(other)]).report(0)["hours"]
    assert isinstance(hours, list)
    assert hours[-1] == {
        "from": now // HOUR * HOUR,
        "messages_received": 5,
        "turns_failed": 1,
    }
    assert [hour["messages_received"] for hour in hours] == [2] * (HOURS_KEPT - 1) + [5]


def test_older_hours_are_not_reported() -> None:
    snapshot = MetricsSnapshot()
    snapshot.count("messages_received", 1, time.time() - HOURS_KEPT * HOUR)
    assert snapshot.report(0)["hours"] == []


def test_counting_began_with_the_oldest_process() -> None:
    oldest = saved_and_loaded(MetricsSnapshot(since=1000.0))
    assert MetricsSnapshot.merged([MetricsSnapshot(), oldest]).report(0)["since"] == 1000.0


def test_a_busy_process_is_saved_in_a_few_kilobytes() -> None:
    """A day with a voice turn every second, in which all stages scatter widely."""
    snapshot = MetricsSnapshot()
    chance = random.Random(1)
    for position, stage in enumerate(STAGES):
        for _ in range(10_000):
            snapshot.stages[stage].add(chance.lognormvariate(-4 + position * 0.6, 0.5))
    snapshot.counters.update(dict.fromkeys(COUNTERS, 10_000))
    snapshot.errors.update({f"SomeKindOf{number}Error": 100 for number in range(20)})
    for _ in range(3):
        snapshot.merge(snapshot)
    assert snapshot.stages["total_time"].count == 80_000
    assert len(json.dumps(snapshot.to_json())) < 16 * 1024


def test_names_of_another_release_are_ignored() -> None:
    newer = snapshot_of([("stt_time", 1.0), ("texts_sent", 2), ("AgentBusy", None)])
    newer.stages["dream_time"] = Histogram()
    newer.stages["dream_time"].add(5.0)
    newer.counters["dreams"] = 3
    newer.errors["BadDream"] = 1
    known = snapshot_of([("stt_time", 1.0), ("texts_sent", 2), ("AgentBusy", None)])
    known.errors["BadDream"] = 1
    assert MetricsSnapshot.from_json(newer.to_json()) == known


@pytest.mark.parametrize("parts", [[], ["stages"], ["counters"], ["errors"]])
def test_parts_that_an_older_release_did_not_save_are_empty(parts: list[str]) -> None:
    saved = snapshot_of([("stt_time", 1.0), ("texts_sent", 2), ("AgentBusy", None)]).to_json()
    snapshot = MetricsSnapshot.from_json({part: saved[part] for part in parts})
    assert snapshot.stages.keys() == set(STAGES)
    assert snapshot.counters.keys() == set(COUNTERS)
    assert snapshot.stages["stt_time"].count == ("stages" in parts)
    assert snapshot.counters["texts_sent"] == 2 * ("counters" in parts)
    assert snapshot.errors == Counter({"AgentBusy": 1} if "errors" in parts else {})


def test_a_bucket_beyond_ours_is_counted_in_our_last() -> None:
    saved = snapshot_of([("stt_time", 1e6)]).stages["stt_time"].to_json()
    histogram = Histogram.from_json(saved | {"first": len(BOUNDS) + 50})
    assert histogram.count == 1
    assert histogram.percentile(50) == 1e6
