"""Timings and counters as operators and scrapers read them."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from core.errors import AgentBusy, MediaMissing
from metrics import COUNTERS, STAGES, Metrics, MetricsSnapshot
from web.prometheus import prometheus

REALISTIC = ["download_time", "stt_time", "agentforce_time", "tts_time", "total_time"]


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    text = prometheus({"": metrics.snapshot()}).decode()
    return {
        (sample.name, sample.labels.get("le", sample.labels.get("error", ""))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_five_stages_that_stay_come_first_with_their_four_figures() -> None:
    report = json.loads(json.dumps(Metrics().snapshot().report(0)))
    assert list(report)[:5] == REALISTIC
    for stage in STAGES:
        assert {"count", "avg", "min", "max"} <= report[stage].keys()
        assert set(report[stage].values()) == {0}


def test_the_four_figures_are_exact() -> None:
    metrics = Metrics()
    for seconds in (0.5, 0.25, 2.0):
        metrics.record_time("stt_time", seconds)
    figures = metrics.snapshot().report(0)["stt_time"]
    assert isinstance(figures, dict)
    assert [figures[key] for key in ("count", "min", "max")] == [3, 0.25, 2.0]
    assert figures["avg"] == pytest.approx(2.75 / 3)


def test_memory_does_not_grow_with_traffic() -> None:
    metrics = Metrics()

    def told() -> int:
        return len(prometheus({"": metrics.snapshot()}))

    def kept() -> int:
        stages = metrics.snapshot().stages.values()
        return sum(sys.getsizeof(histogram.buckets) for histogram in stages)

    metrics.record_time("total_time", 1.0)
    told_before, kept_before = told(), kept()
    for number in range(20_000):
        metrics.record_time("total_time", number / 100)
        metrics.count_error(AgentBusy())
    assert kept() == kept_before
    # Numbers have more digits, and one error has a line.
    assert told() < told_before + 1000


def test_messages_that_did_not_arrive_are_counted_by_code() -> None:
    metrics = Metrics()
    for code in (63016, 63016, 63019, None):
        metrics.count_undelivered(code)
    counted = {"63016": 2, "63019": 1, "none": 1}
    figures = metrics.snapshot()
    assert figures.report(0)["delivery_errors"] == counted
    kept = json.loads(json.dumps(figures.to_json()))
    both = MetricsSnapshot.merged([MetricsSnapshot.from_json(kept), MetricsSnapshot.from_json({})])
    assert both.delivery_errors == counted
    text = prometheus({"": both}).decode()
    assert '\nbridge_delivery_errors_total{code="63016"} 2.0\n' in text


def test_durations_below_zero_count_as_none() -> None:
    metrics = Metrics()
    metrics.record_time("queue_time", -1.0)
    figures = metrics.snapshot().report(metrics.uptime())["queue_time"]
    assert isinstance(figures, dict)
    assert (figures["count"], figures["min"]) == (1, 0.0)


def test_a_timed_block_counts_unless_it_raises() -> None:
    metrics = Metrics()
    with metrics.timer("convert_time"):
        pass
    with pytest.raises(ZeroDivisionError), metrics.timer("convert_time"):
        _ = 1 / 0
    figures = metrics.snapshot().report(metrics.uptime())["convert_time"]
    assert isinstance(figures, dict)
    assert figures["count"] == 1


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


def test_a_copy_of_the_figures_does_not_change_any_more() -> None:
    metrics = Metrics()
    metrics.record_time("stt_time", 1.0)
    figures = metrics.snapshot()
    metrics.record_time("stt_time", 2.0)
    metrics.count("texts_sent")
    metrics.count_error(AgentBusy())
    assert figures.stages["stt_time"].count == 1
    assert (figures.counters["texts_sent"], figures.errors["AgentBusy"]) == (0, 0)


def test_a_misspelt_stage_or_counter_is_found_at_once() -> None:
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
    figures, counters = report["send_time"], report["counters"]
    assert isinstance(figures, dict) and isinstance(counters, dict)
    assert (figures["count"], counters["texts_sent"]) == (4000, 4000)


def test_a_scraper_can_read_all_figures() -> None:
    metrics = Metrics()
    for seconds in (0.01, 0.1, 1.0, 10.0, 5000.0):
        metrics.record_time("total_time", seconds)
    metrics.count("messages_received", 7)
    metrics.count_error(AgentBusy())
    read = samples(metrics)
    assert read["bridge_total_seconds_count", ""] == 5
    assert read["bridge_total_seconds_sum", ""] == pytest.approx(5011.11)
    assert read["bridge_total_seconds_bucket", "+Inf"] == 5
    assert read["bridge_messages_received_total", ""] == 7
    assert read["bridge_errors_total", "AgentBusy"] == 1
    for stage in STAGES:
        assert (f"bridge_{stage.removesuffix('_time')}_seconds_count", "") in read
    for counter in COUNTERS:
        assert (f"bridge_{counter}_total", "") in read


@given(st.lists(st.floats(0, 2000), max_size=50))
@settings(max_examples=25)
def test_scraped_buckets_hold_what_does_not_exceed_them(values: list[float]) -> None:
    metrics = Metrics()
    for value in values:
        metrics.record_time("tts_time", value)
    for (name, bound), number in samples(metrics).items():
        if name == "bridge_tts_seconds_bucket":
            # The bound is printed with six digits.
            slack = float(bound) * 1e-5 if bound != "+Inf" else 0.0
            least = sum(value <= float(bound) - slack for value in values)
            assert least <= number <= sum(value <= float(bound) + slack for value in values)
