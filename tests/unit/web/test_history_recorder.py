"""What processes count is stored by slots of time, once, whatever fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

import metrics as metrics_module
from metrics import MINUTE, Metrics, MetricsSnapshot
from storage import metrics_history
from storage.database import Database, StorageError
from storage.metrics_history import KEPT, QUARTER, TWO_HOURS, MetricsHistory
from tests.unit.conftest import START, Clock
from web import history_recorder
from web.history_recorder import HistoryRecorder


@pytest.fixture(autouse=True)
def stopped_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock.install(monkeypatch, metrics_history, metrics_module, history_recorder)


@pytest.fixture
def history(database: Database) -> MetricsHistory:
    return MetricsHistory(database=database)


def start_process(
    history: MetricsHistory, gauges: Callable[[], Mapping[str, int]] = dict
) -> tuple[Metrics, HistoryRecorder]:
    metrics = Metrics()
    return metrics, HistoryRecorder(metrics=metrics, history=history, gauges=gauges)


def counted(history: MetricsHistory, length: int = MINUTE) -> dict[int, int]:
    """The texts of each slot, by its begin."""
    slots: dict[int, MetricsSnapshot] = {}
    for begin, figures in history.slots(length, since=slot(TWO_HOURS)):
        slots.setdefault(begin, MetricsSnapshot()).add_json(figures)
    return {begin: slot.counters["texts_sent"] for begin, slot in slots.items()}


def slot(length: int, at: float = START) -> int:
    return int(at // length * length)


def test_what_is_counted_shows_in_slots_of_each_length(
    history: MetricsHistory, clock: Clock
) -> None:
    metrics, recorder = start_process(history)
    metrics.count("texts_sent")
    clock.now = START + 2 * MINUTE
    metrics.count("texts_sent", 2)
    recorder.flush()
    assert counted(history) == {slot(MINUTE): 1, slot(MINUTE, clock.now): 2}
    assert sum(counted(history, QUARTER).values()) == 3
    assert counted(history, TWO_HOURS) == {slot(TWO_HOURS): 3}


def test_a_slot_grows_with_each_save_and_saving_again_changes_nothing(
    history: MetricsHistory,
) -> None:
    metrics, recorder = start_process(history)
    for number in (1, 2, 3):
        metrics.count("texts_sent")
        for _ in range(2):
            recorder.flush()
        assert counted(history) == {slot(MINUTE): number}


def test_processes_and_their_successors_add_up(history: MetricsHistory) -> None:
    for _ in range(3):
        metrics, recorder = start_process(history)
        metrics.record_time("text_turn_time", 2.0)
        metrics.count("texts_sent")
        metrics.count_label("languages", "ar")
        recorder.stop()
    total = MetricsSnapshot()
    for _, figures in history.slots(QUARTER, since=slot(TWO_HOURS)):
        total.add_json(figures)
    assert total.counters["texts_sent"] == total.stages["text_turn_time"].count == 3
    assert total.languages == {"ar": 3}


@pytest.mark.parametrize("after_commit", [True, False])
def test_a_database_that_fails_loses_nothing_and_doubles_nothing(
    history: MetricsHistory, monkeypatch: pytest.MonkeyPatch, after_commit: bool, clock: Clock
) -> None:
    """Also if the connection breaks just after the commit."""
    metrics, recorder = start_process(history)
    metrics.count("texts_sent")
    metrics.note("answered")
    save = history.save

    def fail(*arguments: Any) -> None:
        if after_commit:
            save(*arguments)
        raise StorageError("no connection")

    with capture_logs() as lines:
        monkeypatch.setattr(history, "save", fail)
        for _ in range(3):
            assert not recorder.flush()
            metrics.count("texts_sent")
            clock.now += 5
    assert [line["log_level"] for line in lines] == ["error"]
    monkeypatch.setattr(history, "save", save)
    assert recorder.flush()
    assert sum(counted(history).values()) == 4
    assert history.moments()["answered"].last == START


def test_an_outage_takes_a_bounded_memory(
    history: MetricsHistory, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    metrics, recorder = start_process(history)

    def fail(*_: object) -> None:
        raise StorageError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr(history, "save", fail)
        for _ in range(300):
            metrics.count("texts_sent")
            recorder.flush()
            clock.now += MINUTE
    recorder.flush()
    # The minutes that are too old to be shown are dropped; longer slots are whole.
    assert len(counted(history)) == KEPT[MINUTE] // MINUTE
    assert sum(counted(history, TWO_HOURS).values()) == 300


def test_what_nobody_takes_is_bounded(clock: Clock) -> None:
    metrics = Metrics()
    for _ in range(300):
        metrics.count("texts_sent")
        clock.now += MINUTE
    assert len(metrics.take().minutes) == metrics_module.MINUTES_KEPT


def test_an_idle_process_writes_once_a_minute(
    history: MetricsHistory, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    metrics, recorder = start_process(history)
    saved: list[int] = []
    save = history.save

    def note(process: str, slots: Mapping[Any, Any], happened: Mapping[str, Any]) -> None:
        saved.append(len(slots) + len(happened))
        save(process, slots, happened)

    monkeypatch.setattr(history, "save", note)
    clock.now = slot(TWO_HOURS)
    metrics.note("answered")
    for _ in range(24):
        metrics.observe("workers", 2)
        recorder.flush()
        clock.now += 5
    assert [number for number in saved if number] == [4, 1]


def test_the_largest_value_of_a_gauge_is_kept(history: MetricsHistory) -> None:
    for values in ((1, 7, 3), (5,)):
        metrics, recorder = start_process(history)
        for value in values:
            metrics.observe("waiting", value)
            recorder.flush()
    total = MetricsSnapshot()
    for _, figures in history.slots(MINUTE, since=slot(TWO_HOURS)):
        total.add_json(figures)
    assert total.gauges == {"waiting": 7}


def test_old_slots_are_deleted(history: MetricsHistory, clock: Clock) -> None:
    clock.now = float(slot(TWO_HOURS))
    metrics, recorder = start_process(history)
    metrics.count("texts_sent")
    metrics.note("answered")
    recorder.flush()
    for length, kept in sorted(KEPT.items()):
        clock.now = slot(TWO_HOURS, START) + kept
        history.purge()
        assert counted(history, length)
        clock.now += 1
        history.purge()
        assert not counted(history, length)
    # Whether something has ever worked is known for ever.
    assert history.moments().keys() == {"answered"}


def test_moments_are_the_first_and_the_last_of_all_processes(
    history: MetricsHistory, clock: Clock
) -> None:
    (one, one_saves), (two, two_saves) = start_process(history), start_process(history)
    one.note("failed twilio send", "SendBusy")
    clock.now = START + 10
    two.note("failed twilio send", "SendUnauthorized")
    two_saves.flush()
    # The one that was earlier is saved later.
    one_saves.flush()
    moment = history.moments()["failed twilio send"]
    assert (moment.first, moment.last) == (START, START + 10)
    assert moment.detail == "SendUnauthorized"


def test_a_name_that_is_too_long_for_the_database_is_shortened(history: MetricsHistory) -> None:
    metrics, recorder = start_process(history)
    metrics.note("error " + "x" * 100, "y" * 100)
    assert recorder.flush()
    assert [len(name) for name in history.moments()] == [64]
