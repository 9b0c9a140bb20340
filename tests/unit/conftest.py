from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from database import open_postgres, open_sqlite
from sandbox.postgres import Postgres
from schema import metadata


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
