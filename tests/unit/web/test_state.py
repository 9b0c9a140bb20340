"""The dashboard's state while the database fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from core.models import Backlog, CheckResult, CheckState
from core.settings import Settings
from metrics import Metrics
from sandbox import CREDENTIALS
from storage.database import Database, StorageError
from storage.metrics_history import MetricsHistory
from turns.health import Health
from web.history import History
from web.history_recorder import HistoryRecorder
from web.state import State

CHECKS = (CheckResult("voice", "Voice", CheckState.WARNING, "an old model", "Take a newer one."),)


class Service:
    """The parts of a service that make up its state."""

    def __init__(self, database: Database) -> None:
        address = {
            "SALESFORCE_INSTANCE_URL": "https://acme.my.salesforce.com",
            "PUBLIC_URL": "https://bot.example.com",
        }
        settings = Settings(**(CREDENTIALS | address))  # type: ignore[arg-type]
        self.metrics = Metrics()
        self.fails = False
        self.table = MetricsHistory(database=database)
        recorder = HistoryRecorder(metrics=self.metrics, history=self.table, gauges=dict)
        self.state = State(
            settings=settings,
            metrics=self.metrics,
            health=Health(backlog=self._backlog, workers=lambda: 1, down=list),
            recorder=recorder,
            table=self.table,
            history=History(settings=settings, recorder=recorder, table=self.table),
            checks=lambda: (5.0, CHECKS),
        )

    def _backlog(self) -> Backlog:
        if self.fails:
            raise StorageError("no connection")
        return Backlog(0, 0, None)

    def report(self) -> dict[str, Any]:
        return self.state.report()


@pytest.fixture
def service(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr("turns.health.FRESH_SECONDS", 0.0)
    yield Service(database)


def break_database(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise StorageError("no connection")

    service.fails = True
    for method in ("save", "slots", "moments"):
        monkeypatch.setattr(service.table, method, fail)


def test_what_is_known_stays_while_the_database_fails(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.metrics.note("answered")
    answered_at = service.report()["last_answer_at"]
    break_database(service, monkeypatch)
    service.metrics.note("failed twilio send", "SendUnauthorized")
    report = service.report()
    assert report["verdict"]["title"] == "The database does not answer"
    assert report["last_answer_at"] == answered_at
    twilio = report["providers"][0]
    assert (twilio["state"], twilio["error"]) == ("refused", "SendUnauthorized")


def test_the_checklist_has_what_the_check_found(service: Service) -> None:
    assert service.report()["checklist"]["checked_at"] == 5.0
    assert service.report()["checklist"]["results"] == [
        {
            "name": "voice",
            "title": "Voice",
            "state": "warning",
            "finding": "an old model",
            "hint": "Take a newer one.",
        }
    ]


def test_each_delivery_error_has_advice_and_a_link(service: Service) -> None:
    service.metrics.count_undelivered(63016)
    service.metrics.count_undelivered(None)
    errors = {error["code"]: error for error in service.report()["delivery_errors"]}
    assert errors["63016"]["link"] == "https://www.twilio.com/docs/api/errors/63016"
    assert errors["63016"]["count"] == 1
    assert errors["none"]["advice"] == "Twilio gave no reason"
