"""The PostgreSQL database of DATABASE_URL, and the workers that share it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from checks.report import Check
from core.models import CheckResult
from core.redaction import describe_error
from storage.database import Database
from storage.processes import Processes
from turns.health import count_workers

DATABASE = Check("database", "Database")
CONNECTIONS = Check("database_connections", "Database connections")
WORKERS = Check("workers", "Workers")

TESTED_VERSIONS = range(15, 19)
# What one web and one worker process open (docs/scaling.md, "Database connections").
NEEDED_CONNECTIONS = 13
# If a larger part of them is in use, another process may find none.
MAX_USED = 0.9
# A role of Heroku's small plans has a limit of its own, which only its connections use up.
_CONNECTIONS = text(
    "SELECT CAST(current_setting('max_connections') AS int) AS allowed, rolconnlimit AS own_limit,"
    " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    " AND (rolconnlimit <= 0 OR usename = current_user)) AS used"
    " FROM pg_roles WHERE rolname = current_user"
)
_HAS_TABLES = text("SELECT to_regclass('processes')")


def check_database(database: Database) -> Iterator[CheckResult]:
    """Whether the database of DATABASE_URL can be used."""
    try:
        yield _check_version(database)
        yield _check_connections(database)
    except SQLAlchemyError as error:
        yield DATABASE.fail(
            f"cannot be used: {describe_error(error)}",
            "see that DATABASE_URL is right and the server runs; on Heroku: heroku pg:info",
        )


def check_workers(database: Database) -> Iterator[CheckResult]:
    """Whether a worker lives, without which no message is answered."""
    hint = "start one: heroku ps:scale worker=1, or python worker.py with the same settings"
    try:
        # Looked up first, because a query of a missing table ends the process.
        if database.value(_HAS_TABLES) is None:
            yield WORKERS.fail("none has ever started", hint)
        elif alive := count_workers(Processes(database=database)):
            yield WORKERS.ok(f"{alive} alive")
        else:
            yield WORKERS.fail("none is alive", hint)
    except SQLAlchemyError:
        yield WORKERS.skip("the database cannot be used")


def _check_version(database: Database) -> CheckResult:
    version = int(database.value(text("SHOW server_version_num")))
    major = version // 10_000
    if major in TESTED_VERSIONS:
        return DATABASE.ok(f"PostgreSQL {major}")
    oldest, newest = TESTED_VERSIONS[0], TESTED_VERSIONS[-1]
    hint = f"take one of the versions {oldest} to {newest}"
    if major < oldest:
        return DATABASE.fail(f"PostgreSQL {major} is too old", hint)
    return DATABASE.warn(f"PostgreSQL {major} is newer than what was tested", hint)


def _check_connections(database: Database) -> CheckResult:
    row = database.row(_CONNECTIONS)
    assert row is not None  # noqa: S101  # Everybody has a role.
    allowed = min(row.allowed, row.own_limit) if row.own_limit > 0 else row.allowed
    if allowed < NEEDED_CONNECTIONS:
        return CONNECTIONS.warn(
            f"only {allowed} are allowed",
            f"one web and one worker process open {NEEDED_CONNECTIONS}; take a larger plan",
        )
    finding = f"{row.used} of {allowed} are in use"
    if row.used > allowed * MAX_USED:
        return CONNECTIONS.warn(finding, "take a larger plan, or run fewer processes")
    return CONNECTIONS.ok(finding)
