"""The figures of several processes as operators see them: as those of one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

import shared_metrics
from figures import Figures
from metrics import Metrics
from shared_metrics import REFRESH_SECONDS, FiguresStore, SharedMetrics
from store import StoreError

NEVER = 3600.0

Process = Callable[[str], tuple[Metrics, SharedMetrics]]
Break = Callable[..., None]


class Shelf:
    """Keeps figures as a database does: as text."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def save_figures(self, process: str, figures: dict[str, Any]) -> None:
        self._kept[process] = json.dumps(figures)

    def figures(self) -> dict[str, dict[str, Any]]:
        return {process: json.loads(text) for process, text in self._kept.items()}


@pytest.fixture
def store() -> FiguresStore:
    return Shelf()


@pytest.fixture
def process(store: FiguresStore) -> Process:
    """Starts a process of a name, as far as its figures go; it shares when it is told to."""

    def start(name: str) -> tuple[Metrics, SharedMetrics]:
        metrics = Metrics()
        return metrics, SharedMetrics(metrics=metrics, store=store, process=name, interval=NEVER)

    return start


@pytest.fixture
def fail(store: FiguresStore, monkeypatch: pytest.MonkeyPatch) -> Break:
    """Lets methods of the store fail; without names all work again."""

    def failing(*_: object) -> None:
        raise StoreError("no connection")

    def change(*methods: str) -> None:
        monkeypatch.undo()
        for method in methods:
            monkeypatch.setattr(store, method, failing)

    return change


def shared(store: FiguresStore, process: str) -> Figures:
    """What others can read of a process."""
    return Figures.from_json(store.figures()[process])


def sent(metrics: Metrics) -> int:
    return metrics.figures().counters["texts_sent"]


def test_every_process_sees_what_all_did(process: Process) -> None:
    web, shared_web = process("web")
    worker, shared_worker = process("worker")
    web.count("messages_received", 3)
    web.time("ack_time", 0.01)
    worker.time("stt_time", 1.0)
    worker.count("texts_sent", 2)
    worker.failed(ValueError())
    shared_web.save()
    shared_worker.save()
    figures = shared_web.figures()
    assert figures == shared_worker.figures()
    assert (figures.counters["messages_received"], figures.counters["texts_sent"]) == (3, 2)
    assert (figures.stages["ack_time"].count, figures.stages["stt_time"].count) == (1, 1)
    assert figures.errors == {"ValueError": 1}


def test_its_own_figures_are_those_of_now_and_count_once(process: Process) -> None:
    web, shared_web = process("web")
    web.count("texts_sent")
    shared_web.save()
    web.count("texts_sent")
    assert shared_web.figures().counters["texts_sent"] == 2


def test_processes_that_ended_still_count(process: Process) -> None:
    for name in ("monday", "tuesday"):
        metrics, of_that_day = process(name)
        metrics.count("texts_sent")
        of_that_day.stop()
    assert process("today")[1].figures().counters["texts_sent"] == 2


def test_what_was_counted_last_is_shared_when_it_stops(
    process: Process, store: FiguresStore
) -> None:
    metrics, of_process = process("web")
    of_process.start()
    metrics.count("texts_sent")
    of_process.stop()
    assert shared(store, "web") == metrics.figures()


def test_the_thread_shares_what_changes_and_only_that(
    store: FiguresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    looked, saved = threading.Semaphore(0), threading.Semaphore(0)
    save, copy = store.save_figures, metrics.figures

    def save_figures(process: str, figures: dict[str, Any]) -> None:
        save(process, figures)
        saved.release()

    def look() -> Figures:
        looked.release()
        return copy()

    monkeypatch.setattr(store, "save_figures", save_figures)
    monkeypatch.setattr(metrics, "figures", look)
    of_process = SharedMetrics(metrics=metrics, store=store, process="web", interval=0.01)
    of_process.start()
    assert all(looked.acquire(timeout=10) for _ in range(3))
    assert not saved.acquire(blocking=False)
    for number in (1, 2):
        metrics.count("texts_sent")
        assert saved.acquire(timeout=10)
        assert shared(store, "web").counters["texts_sent"] == number
    of_process.stop()
    assert not saved.acquire(blocking=False)


def test_an_idle_process_is_not_forgotten(
    process: Process, store: FiguresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store purges what was not saved for long, as left by a process of long ago."""
    now = 1000.0
    monkeypatch.setattr(shared_metrics, "time", SimpleNamespace(monotonic=lambda: now))
    metrics, of_process = process("web")
    saved = []
    monkeypatch.setattr(store, "save_figures", lambda *kept: saved.append(kept))
    metrics.count("texts_sent")
    for waited in (0.0, REFRESH_SECONDS - 1, 2.0, REFRESH_SECONDS - 1, 2.0):
        now += waited
        of_process.save()
    assert len(saved) == 3


def test_an_outage_loses_nothing_and_is_logged_once(
    process: Process, store: FiguresStore, fail: Break
) -> None:
    metrics, of_process = process("web")
    other, of_other = process("worker")
    other.count("texts_sent", 5)
    of_other.save()
    metrics.count("texts_sent")
    of_process.figures()
    with capture_logs() as lines:
        fail("save_figures", "figures")
        for _ in range(3):
            metrics.count("texts_sent")
            of_process.save()
            # What the others did does not shrink because nobody can read it.
            assert of_process.figures().counters["texts_sent"] == sent(metrics) + 5
        assert [line["log_level"] for line in lines] == ["error"]
        fail()
        of_process.save()
        of_process.figures()
        assert shared(store, "web").counters["texts_sent"] == sent(metrics) == 4
        fail("figures")
        of_process.figures()
        assert len(lines) == 2


def test_a_store_that_cannot_be_read_yet_leaves_its_own_figures(
    process: Process, fail: Break
) -> None:
    metrics, of_process = process("web")
    metrics.count("texts_sent")
    fail("figures")
    assert of_process.figures() == metrics.figures()


def test_a_store_that_only_reads_is_one_outage(process: Process, fail: Break) -> None:
    metrics, of_process = process("web")
    fail("save_figures")
    with capture_logs() as lines:
        for _ in range(3):
            metrics.count("texts_sent")
            of_process.save()
            of_process.figures()
    assert len(lines) == 1
