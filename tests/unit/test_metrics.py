"""Timings and counters as operators and Prometheus read them."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from core.errors import (
    AgentBusy,
    AgentDown,
    AgentError,
    AgentLocked,
    AgentMisconfigured,
    MediaMissing,
)
from metrics import COUNTERS, STAGES, Metrics, MetricsSnapshot
from web.prometheus import prometheus

PREDECESSOR_STAGES = ["download_time", "stt_time", "agentforce_time", "tts_time", "total_time"]


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    text = prometheus({"": metrics.snapshot()}).decode()
    return {
        (sample.name, sample.labels.get("le", sample.labels.get("error", ""))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_five_stages_that_stay_come_first_with_their_four_figures() -> None:
    report = json.loads(json.dumps(Metrics().snapshot().report(0)))
    assert list(report)[:5] == PREDECESSOR_STAGES
    for stage in STAGES:
        assert {"count", "avg", "min", "max"} <= report[stage].keys()
        assert set(report[stage].values()) == {0}


def test_count_average_minimum_and_maximum_are_exact() -> None:
    metrics = Metrics()
    for seconds in (0.5, 0.25, 2.0):
        metrics.record_time("stt_time", seconds)
    summary = metrics.snapshot().report(0)["stt_time"]
    assert isinstance(summary, dict)
    assert [summary[key] for key in ("count", "min", "max")] == [3, 0.25, 2.0]
    assert summary["avg"] == pytest.approx(2.75 / 3)


def test_memory_does_not_grow_with_traffic() -> None:
    metrics = Metrics()

    def exposed_bytes() -> int:
        return len(prometheus({"": metrics.snapshot()}))

    def bucket_bytes() -> int:
        stages = metrics.snapshot().stages.values()
        return sum(sys.getsizeof(histogram.buckets) for histogram in stages)

    metrics.record_time("total_time", 1.0)
    exposed_before, buckets_before = exposed_bytes(), bucket_bytes()
    for number in range(20_000):
        metrics.record_time("total_time", number / 100)
        metrics.count_error(AgentBusy())
    assert bucket_bytes() == buckets_before
    # The text has more digits, and one more line, for the error.
    assert exposed_bytes() < exposed_before + 1000


def test_undelivered_messages_are_counted_by_code() -> None:
    metrics = Metrics()
    for code in (63016, 63016, 63019, None):
        metrics.count_undelivered(code)
    expected = {"63016": 2, "63019": 1, "none": 1}
    snapshot = metrics.snapshot()
    assert snapshot.report(0)["delivery_errors"] == expected
    saved = json.loads(json.dumps(snapshot.to_json()))
    merged = MetricsSnapshot.merged([MetricsSnapshot.from_json(saved), MetricsSnapshot()])
    assert merged.delivery_errors == expected
    text = prometheus({"": merged}).decode()
    assert '\nbridge_delivery_errors_total{code="63016"} 2.0\n' in text


def test_a_negative_duration_counts_as_zero() -> None:
    metrics = Metrics()
    metrics.record_time("queue_time", -1.0)
    summary = metrics.snapshot().report(metrics.uptime())["queue_time"]
    assert isinstance(summary, dict)
    assert (summary["count"], summary["min"]) == (1, 0.0)


def test_a_timed_block_is_recorded_unless_it_raises() -> None:
    metrics = Metrics()
    with metrics.timer("convert_time"):
        pass
    with pytest.raises(ZeroDivisionError), metrics.timer("convert_time"):
        _ = 1 / 0
    summary = metrics.snapshot().report(metrics.uptime())["convert_time"]
    assert isinstance(summary, dict)
    assert summary["count"] == 1


def test_counters_and_errors_are_reported() -> None:
    metrics = Metrics()
    metrics.count("texts_sent")
    metrics.count("texts_sent", 2)
    metrics.count_error(MediaMissing())
    metrics.count_error(MediaMissing("again"))
    metrics.count_error(ValueError("phone number"))
    report = metrics.snapshot().report(metrics.uptime())
    assert report["counters"] == dict.fromkeys(COUNTERS, 0) | {"texts_sent": 3}
    assert report["errors"] == {"MediaMissing": 2, "ValueError": 1}
    assert "phone number" not in json.dumps(report)


def test_a_snapshot_does_not_change_afterwards() -> None:
    metrics = Metrics()
    metrics.record_time("stt_time", 1.0)
    snapshot = metrics.snapshot()
    metrics.record_time("stt_time", 2.0)
    metrics.count("texts_sent")
    metrics.count_error(AgentBusy())
    assert snapshot.stages["stt_time"].count == 1
    assert (snapshot.counters["texts_sent"], snapshot.errors["AgentBusy"]) == (0, 0)


def test_what_was_recorded_is_taken_once() -> None:
    metrics = Metrics()
    metrics.record_time("stt_time", 1.0)
    metrics.count("texts_sent", 2)
    metrics.count_error(AgentBusy())
    metrics.observe("waiting", 3)
    (minute,) = metrics.take().minutes.values()
    assert (minute.stages["stt_time"].count, minute.counters["texts_sent"]) == (1, 2)
    assert (minute.errors, minute.gauges) == ({"AgentBusy": 1}, {"waiting": 3})
    assert not metrics.take().minutes
    assert metrics.snapshot().counters["texts_sent"] == 2


@pytest.mark.parametrize(
    ("error", "noted"),
    [
        (None, {"ok salesforce answer": ""}),
        (AgentDown(), {"failed salesforce answer": "AgentDown"}),
        (AgentMisconfigured(), {"failed salesforce answer": "AgentMisconfigured"}),
        # The session is at work; nothing is wrong with the provider.
        (AgentLocked(), {}),
        (ValueError("a fault of ours"), {}),
    ],
)
def test_calls_to_providers_are_noted(error: Exception | None, noted: dict[str, str]) -> None:
    metrics = Metrics()
    with suppress(ValueError, AgentError), metrics.watch("salesforce answer"):
        if error:
            raise error
    moments = metrics.take().moments
    assert {name: moment.detail for name, moment in moments.items()} == noted


def test_a_failure_within_a_call_is_noted_as_that_of_the_inner_call() -> None:
    metrics = Metrics()
    with (
        suppress(AgentError),
        metrics.watch("salesforce session"),
        metrics.watch("salesforce token"),
    ):
        raise AgentBusy
    assert metrics.take().moments.keys() == {"failed salesforce token"}
    assert metrics.snapshot().limits == {"salesforce": 1}


def test_an_unknown_stage_or_counter_is_an_error() -> None:
    with pytest.raises(KeyError):
        Metrics().count("text_sent")
    with pytest.raises(KeyError):
        Metrics().record_time("stt", 1.0)


def test_no_count_is_lost_between_threads() -> None:
    metrics = Metrics()

    def work(_: int) -> None:
        for _ in range(500):
            metrics.count("texts_sent")
            metrics.record_time("send_time", 0.1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    report = metrics.snapshot().report(metrics.uptime())
    summary, counters = report["send_time"], report["counters"]
    assert isinstance(summary, dict) and isinstance(counters, dict)
    assert (summary["count"], counters["texts_sent"]) == (4000, 4000)


def test_prometheus_can_read_all_metrics() -> None:
    metrics = Metrics()
    for seconds in (0.01, 0.1, 1.0, 10.0, 5000.0):
        metrics.record_time("total_time", seconds)
    metrics.count("messages_received", 7)
    metrics.count_error(AgentBusy())
    exposed = samples(metrics)
    assert exposed["bridge_total_seconds_count", ""] == 5
    assert exposed["bridge_total_seconds_sum", ""] == pytest.approx(5011.11)
    assert exposed["bridge_total_seconds_bucket", "+Inf"] == 5
    assert exposed["bridge_messages_received_total", ""] == 7
    assert exposed["bridge_errors_total", "AgentBusy"] == 1
    for stage in STAGES:
        assert (f"bridge_{stage.removesuffix('_time')}_seconds_count", "") in exposed
    for counter in COUNTERS:
        assert (f"bridge_{counter}_total", "") in exposed


@given(st.lists(st.floats(0, 2000), max_size=50))
@settings(max_examples=25)
def test_an_exposed_bucket_counts_the_durations_up_to_its_bound(values: list[float]) -> None:
    metrics = Metrics()
    for value in values:
        metrics.record_time("tts_time", value)
    for (name, bound), number in samples(metrics).items():
        if name == "bridge_tts_seconds_bucket":
            # The bound is printed with six digits.
            slack = float(bound) * 1e-5 if bound != "+Inf" else 0.0
            least = sum(value <= float(bound) - slack for value in values)
            assert least <= number <= sum(value <= float(bound) + slack for value in values)
