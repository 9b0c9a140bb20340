from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine

import kept_answers
import leases
import speech_cache
import spoken_pieces
import store
from database import open_postgres, open_sqlite
from sandbox.postgres import Postgres
from schema import metadata

START = 1_700_000_000.0


class Clock:
    """Seconds since the epoch, as a test wants them."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What all that keeps something takes for the time."""
    clock = Clock()
    for module in (store, leases, kept_answers, spoken_pieces, speech_cache):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock))
    return clock


@pytest.fixture(scope="session")
def postgres(server: Postgres) -> Iterator[Engine]:
    engine = open_postgres(server.database("unit"), connections=4)
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """An empty database."""
    if request.param == "sqlite":
        return open_sqlite(str(tmp_path))
    engine: Engine = request.getfixturevalue("postgres")
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    return engine
