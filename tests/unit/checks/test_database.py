"""The connections that a role may have, and has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from checks.database import check_database
from core.models import CheckResult, CheckState
from sandbox.postgres import Postgres
from storage.engine import connect_postgres

NAME = "connections"


@pytest.fixture
def role_url(server: Postgres) -> str:
    """The address of a database, for a role that may have 20 connections."""
    admin_url = server.database(NAME)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS small")
        admin.execute("CREATE ROLE small LOGIN CONNECTION LIMIT 20")
        admin.execute("GRANT pg_read_all_stats TO small")
    return admin_url.replace("postgres@", "small@")


@pytest.fixture
def connected(role_url: str) -> Iterator[ExitStack]:
    with ExitStack() as connected:
        yield connected


def connections(url: str) -> CheckResult:
    database = connect_postgres(url, connections=1, seconds=10.0)
    *_, result = check_database(database)
    database.close()
    return result


def test_only_the_connections_of_the_own_role_use_up_its_limit(
    server: Postgres, role_url: str, connected: ExitStack
) -> None:
    for _ in range(20):
        connected.enter_context(psycopg.connect(server.url(NAME)))
    result = connections(role_url)
    assert (result.state, result.finding) == (CheckState.OK, "1 of 20 are in use")


def test_a_limit_that_is_nearly_used_up_is_told(role_url: str, connected: ExitStack) -> None:
    for _ in range(18):
        connected.enter_context(psycopg.connect(role_url))
    result = connections(role_url)
    assert (result.state, result.finding) == (CheckState.WARNING, "19 of 20 are in use")
    assert "larger plan" in result.hint


def test_a_limit_that_is_too_small_is_told(server: Postgres, role_url: str) -> None:
    with psycopg.connect(server.url(NAME), autocommit=True) as admin:
        admin.execute("ALTER ROLE small CONNECTION LIMIT 5")
    result = connections(role_url)
    assert (result.state, result.finding) == (CheckState.WARNING, "only 5 are allowed")
