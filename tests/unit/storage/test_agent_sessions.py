"""The table of sessions at Agentforce, in both kinds of database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.models import AgentSession, SessionPrivacy
from storage.agent_sessions import AgentSessionTable
from storage.database import Database
from tests.unit.conftest import Clock


@pytest.fixture
def reopen(database: Database) -> Callable[[], AgentSessionTable]:
    """Builds the table of the next process on the same database."""

    def another() -> AgentSessionTable:
        database.close()
        return AgentSessionTable(database=database)

    return another


@pytest.fixture
def table(clock: Clock, reopen: Callable[[], AgentSessionTable]) -> AgentSessionTable:
    return reopen()


def test_a_session_is_stored_until_it_is_dropped_and_never_overwritten(
    table: AgentSessionTable, reopen: Callable[[], AgentSessionTable]
) -> None:
    first, second = AgentSession("a", 1.5), AgentSession("b", 2.5)
    assert table.find("ana") is None
    table.insert("ana", first)
    table.insert("ben", second)
    table = reopen()
    assert (table.find("ana"), table.find("ben")) == (first, second)
    assert not table.insert("ana", second)
    assert table.find("ana") == first
    assert table.delete("ana") == first
    assert table.insert("ana", second)
    assert table.delete("ana") == second
    assert table.find("ana") is table.delete("ana") is None
    assert table.find("ben") == second


def test_a_private_session_never_becomes_public(
    database: Database, clock: Clock, reopen: Callable[[], AgentSessionTable]
) -> None:
    table = AgentSessionTable(database=database, tracks_privacy=True)
    table.raise_privacy("ana", SessionPrivacy.PUBLIC)
    table.insert("ana", AgentSession("a", 1))
    table.insert("ben", AgentSession("b", 1))
    seen = [table.privacy("ana")]
    for privacy in (SessionPrivacy.PUBLIC, SessionPrivacy.PRIVATE, SessionPrivacy.PUBLIC):
        table.raise_privacy("ana", privacy)
        seen.append(reopen().privacy("ana"))
    assert seen == [
        SessionPrivacy.EMPTY,
        SessionPrivacy.PUBLIC,
        SessionPrivacy.PRIVATE,
        SessionPrivacy.PRIVATE,
    ]
    assert table.privacy("ben") == SessionPrivacy.EMPTY


def test_a_session_is_dropped_by_one_of_many_threads(table: AgentSessionTable) -> None:
    table.insert("ana", AgentSession("a", 1))
    with ThreadPoolExecutor(8) as pool:
        dropped = list(pool.map(table.delete, ["ana"] * 40))
    assert sum(session is not None for session in dropped) == 1


def test_find_idle_are_those_unused_since_the_given_time(table: AgentSessionTable) -> None:
    for sender, used_at in (("ana", 1.0), ("ben", 2.0), ("cleo", 3.0)):
        table.insert(sender, AgentSession(sender, used_at))
    assert table.find_idle(2.5) == ["ana", "ben"]
    assert table.find_idle(1.0) == []
