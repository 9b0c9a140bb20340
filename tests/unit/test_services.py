"""The composition root builds what each kind of process needs, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import SettingsError
from core.models import Inbound, Kind
from core.settings import Settings
from sandbox import CREDENTIALS
from sandbox.postgres import Postgres
from services import Role, Services, build_web, build_worker
from tests.sandbox.waiting import wait_until

Build = Callable[..., Services]

GIVEN = CREDENTIALS | {
    "PUBLIC_URL": "https://bot.example.com",
    "SALESFORCE_INSTANCE_URL": "https://acme.my.salesforce.com",
    "KEEP_WARM": "false",
    "TURN_THREADS": "2",
}


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Builds services in a folder of their own, and closes them at the end."""
    built: list[Services] = []

    def build(make: Callable[[Settings], Services] = build_web, **settings: Any) -> Services:
        given = GIVEN | {"STATE_DIR": str(tmp_path)} | settings
        built.append(make(Settings(**given)))
        return built[-1]

    yield build
    for services in built:
        services.start()
        services.close(5)


@pytest.fixture
def database_url(server: Postgres) -> str:
    return server.database("services")


def test_without_a_database_url_one_process_does_all(build: Build) -> None:
    services = build()
    assert services.role is Role.SINGLE
    assert {"pipeline", "intake", "redelivery"} <= vars(services).keys()
    assert "process_metrics" not in vars(services)


def test_a_web_process_beside_workers_builds_nothing_that_only_turns_need(
    build: Build, database_url: str
) -> None:
    services = build(DATABASE_URL=database_url)
    assert services.role is Role.WEB
    assert "intake" in vars(services)
    assert not {"pipeline", "worker", "speech", "whatsapp", "media"} & vars(services).keys()


def test_a_worker_accepts_no_messages(build: Build, database_url: str) -> None:
    services = build(build_worker, DATABASE_URL=database_url)
    assert services.role is Role.WORKER
    assert {"pipeline", "worker"} <= vars(services).keys()
    assert "intake" not in vars(services)


def test_a_part_is_built_once(build: Build) -> None:
    services = build()
    assert services.pipeline is services.pipeline
    assert services.storage.turns is services.storage.turns


def test_a_start_resumes_what_an_earlier_process_was_running_only_once(build: Build) -> None:
    services = build()
    turns, queue = services.storage.turns, services.storage.queue
    assert turns.insert(Inbound(sid="SM1", sender="ana", kind=Kind.SILENT))
    assert queue.claim(1)
    services.start()
    services.start()
    wait_until(lambda: turns.count_unfinished(limit=1) == 0, "the turn to be finished")
    assert services.close(5)


def test_two_processes_cannot_share_a_state_folder(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    build()
    monkeypatch.setattr("storage.storage.lock_state_dir.__kwdefaults__", {"wait_seconds": 0.0})
    with pytest.raises(SettingsError, match="another process uses STATE_DIR"):
        build()


def test_a_setting_that_cannot_work_shows_before_the_database_is_opened(
    build: Build, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="no question is public"):
        build(ANSWER_CACHE_SECONDS="60")
    assert not list(tmp_path.iterdir())
