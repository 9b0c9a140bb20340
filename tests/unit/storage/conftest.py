"""Fixtures of the tests that use each kind of database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sandbox.postgres import Postgres
from sandbox.postgres_programs import Programs
from storage.database import Database
from storage.engine import open_postgres, open_sqlite
from tests.conftest import SERVERS


@pytest.fixture(scope="module", params=[pytest.param(None, id="sqlite"), *SERVERS])
def opened(
    request: pytest.FixtureRequest,
    servers: Callable[[Programs], Postgres],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Database]:
    """The database of a module's tests, of each kind and version; only ``empty`` clears it."""
    name = request.module.__name__.rpartition(".")[2]
    if request.param:
        database = open_postgres(servers(request.param).database(name), connections=4)
    else:
        database = open_sqlite(str(tmp_path_factory.mktemp(name)))
    yield database
    database.close()
