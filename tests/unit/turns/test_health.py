"""When the service reports itself healthy, and what the report contains."""

from __future__ import annotations

from typing import NoReturn

import pytest

from core.models import Backlog
from storage.database import StorageError
from tests.unit.conftest import START, Clock
from turns import health
from turns.health import Health, HealthReport


@pytest.fixture(autouse=True)
def stopped_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock.install(monkeypatch, health)


def check(
    *,
    waiting: int = 0,
    running: int = 0,
    waited: float | None = None,
    workers: int = 1,
    down: list[str] | None = None,
) -> HealthReport:
    oldest = None if waited is None else START - waited
    backlog = Backlog(waiting, running, oldest)
    return Health(backlog=lambda: backlog, workers=lambda: workers, down=lambda: down or []).check()


@pytest.mark.parametrize("workers", [0, 1])
def test_running_turns_without_a_live_worker_are_unhealthy(workers: int) -> None:
    assert check(running=1, workers=workers).healthy == (workers > 0)


@pytest.mark.parametrize("workers", [0, 1, 7])
def test_an_empty_backlog_is_healthy_without_workers_too(workers: int) -> None:
    assert check(workers=workers).to_json() == {
        "healthy": True,
        "database": True,
        "workers": workers,
        "waiting": 0,
        "running": 0,
        "oldest_waiting": 0.0,
        "clouds_down": [],
    }


def test_a_backlog_with_a_live_worker_is_healthy_and_reported() -> None:
    assert check(waiting=900, waited=120.0).to_json() == {
        "healthy": True,
        "database": True,
        "workers": 1,
        "waiting": 900,
        "running": 0,
        "oldest_waiting": 120.0,
        "clouds_down": [],
    }


@pytest.mark.parametrize(
    ("waited", "healthy"), [(0.1, True), (4.9, True), (5.0, False), (60.0, False)]
)
def test_waiting_turns_without_a_worker_are_unhealthy_after_five_seconds(
    waited: float, healthy: bool
) -> None:
    report = check(waiting=1, waited=waited, workers=0)
    assert (report.healthy, report.waiting, report.workers) == (healthy, 1, 0)
    assert report.oldest_waiting == pytest.approx(waited)


def test_a_message_from_the_future_has_waited_zero_seconds() -> None:
    assert check(waiting=1, waited=-2.0, workers=0) == HealthReport(database=True, waiting=1)


def test_a_provider_that_is_down_is_listed_once_and_leaves_the_service_healthy() -> None:
    # A restart would not help, so the platform must not cause one.
    report = check(down=["Agentforce answers", "Agentforce answers"])
    assert report.healthy
    assert report.to_json()["clouds_down"] == ["Agentforce answers"]


def unreachable() -> NoReturn:
    raise StorageError("no connection")


@pytest.mark.parametrize(
    "broken",
    [
        Health(backlog=unreachable, workers=lambda: 1, down=list),
        Health(backlog=lambda: Backlog(0, 0, None), workers=unreachable, down=list),
        Health(backlog=lambda: Backlog(0, 0, None), workers=lambda: 1, down=unreachable),
    ],
    ids=["backlog", "workers", "down"],
)
def test_a_database_that_does_not_answer_is_unhealthy(broken: Health) -> None:
    assert broken.check().to_json() == {
        "healthy": False,
        "database": False,
        "workers": 0,
        "waiting": 0,
        "running": 0,
        "oldest_waiting": 0.0,
        "clouds_down": [],
    }
