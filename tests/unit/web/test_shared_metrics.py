"""Processes share their metrics by the database, each under its name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from http_clients.circuit_breakers import CircuitBreakers
from metrics import Metrics, MetricsSnapshot
from storage.database import Database, StorageError
from storage.processes import Processes
from web import shared_metrics
from web.shared_metrics import ProcessMetrics

Break = Callable[..., None]


@pytest.fixture
def processes(database: Database) -> Processes:
    return Processes(database=database)


@pytest.fixture
def fail(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> Break:
    """Lets the named methods of the store fail; without names all work again."""

    def failing(*_: object) -> None:
        raise StorageError("no connection")

    def change(*methods: str) -> None:
        monkeypatch.undo()
        for method in methods:
            monkeypatch.setattr(processes, method, failing)

    return change


def start_process(processes: Processes, kind: str = "web") -> tuple[Metrics, ProcessMetrics]:
    metrics = Metrics()
    return metrics, ProcessMetrics(
        metrics=metrics,
        breakers=CircuitBreakers(failures=1, seconds=30, metrics=metrics),
        processes=processes,
        kind=kind,
    )


def texts_sent(snapshots: dict[str, MetricsSnapshot]) -> int:
    return MetricsSnapshot.merged(snapshots.values()).counters["texts_sent"]


def test_every_process_sees_the_metrics_of_all(processes: Processes) -> None:
    web, web_metrics = start_process(processes)
    worker, worker_metrics = start_process(processes, "worker")
    web.record_time("ack_time", 0.005)
    worker.record_time("total_time", 4.0)
    worker.count("texts_sent")
    for each in (web_metrics, worker_metrics):
        each.report()
    for each in (web_metrics, worker_metrics):
        seen = MetricsSnapshot.merged(each.snapshots().values())
        assert (seen.stages["ack_time"].count, seen.stages["total_time"].largest) == (1, 4.0)
        assert seen.counters["texts_sent"] == 1


def test_its_own_metrics_are_current_and_count_once(processes: Processes) -> None:
    web, web_metrics = start_process(processes)
    web.count("texts_sent")
    web_metrics.report()
    web.count("texts_sent")
    assert texts_sent(web_metrics.snapshots()) == 2


def test_processes_that_ended_still_count(processes: Processes) -> None:
    for _ in range(2):
        metrics, former = start_process(processes, "worker")
        metrics.count("texts_sent")
        former.stop()
    assert texts_sent(start_process(processes)[1].snapshots()) == 2


def test_a_process_reports_again_and_again(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if nothing changed, because a report shows that the process is alive."""
    monkeypatch.setattr(shared_metrics, "INTERVAL_SECONDS", 0.01)
    reported, report = threading.Semaphore(0), processes.report

    def note(process: str, kind: str, saved: dict[str, Any]) -> None:
        report(process, kind, saved)
        reported.release()

    monkeypatch.setattr(processes, "report", note)
    _, worker = start_process(processes, "worker")
    worker.start()
    assert all(reported.acquire(timeout=10) for _ in range(3))
    worker.stop()
    assert processes.count_alive("worker", since=0) == 1
    assert processes.count_alive("web", since=0) == 0


def test_an_outage_loses_nothing_and_is_logged_once(processes: Processes, fail: Break) -> None:
    web, web_metrics = start_process(processes)
    worker, worker_metrics = start_process(processes, "worker")
    worker.count("texts_sent", 5)
    worker_metrics.report()
    web_metrics.snapshots()
    with capture_logs() as lines:
        fail("report", "snapshots")
        for number in (1, 2, 3):
            web.count("texts_sent")
            web_metrics.report()
            # The worker's metrics stay those that were read last.
            assert texts_sent(web_metrics.snapshots()) == number + 5
        assert [line["log_level"] for line in lines] == ["error"]
        fail()
        web_metrics.report()
        assert texts_sent(worker_metrics.snapshots()) == 8
