"""Which session a sender gets, and what that costs the database; against the stand-in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from agentforce import Agentforce, SessionGone
from core.errors import AgentMisconfigured, AgentUnavailable
from core.models import AgentSession, SessionPrivacy
from core.settings import Settings
from http_clients.circuit_breakers import CircuitBreakers
from http_clients.oauth_token import AccessToken
from http_clients.sessions import requests_session
from metrics import Metrics
from sandbox import Sandbox
from sandbox.faults import Fault
from sandbox.speech.fixture import FixtureSpeech
from storage.agent_sessions import AgentSessionTable
from storage.database import Database
from storage.engine import open_sqlite
from storage.leases import DatabaseLeases
from tests.unit.conftest import put_session
from turns.agent_sessions import AgentSessions
from turns.session_pool import SessionPool

IDLE = 1800.0
ANA = "whatsapp:+14155550001"


@pytest.fixture(scope="module")
def started() -> Iterator[Sandbox]:
    with Sandbox(speech=FixtureSpeech()) as sandbox:
        yield sandbox


@pytest.fixture
def provider(started: Sandbox) -> Iterator[Sandbox]:
    started.faults.clear()
    started.recorder.clear()
    started.agentforce.forget_tokens()
    yield started
    assert not started.recorder.violations


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_sqlite(str(tmp_path))


@pytest.fixture
def table(database: Database) -> AgentSessionTable:
    return AgentSessionTable(database=database)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def agent(provider: Sandbox, metrics: Metrics) -> Agentforce:
    settings = Settings(**provider.environment("http://127.0.0.1:9"))  # type: ignore[arg-type]
    session = requests_session(settings, width=4)
    token = AccessToken(session=session, settings=settings, metrics=metrics)
    return Agentforce(
        session=session,
        token=token,
        metrics=metrics,
        settings=settings,
        breakers=CircuitBreakers(failures=0, seconds=30, metrics=metrics),
        background=ThreadPoolExecutor(1),
    )


class Spares(SessionPool):
    """Those that a test puts there."""

    def __init__(self) -> None:
        self.kept: list[AgentSession] = []

    def take(self) -> AgentSession | None:
        return self.kept.pop() if self.kept else None


class Beside(ThreadPoolExecutor):
    """Does what it is given when it is told to."""

    def __init__(self) -> None:
        super().__init__(1)
        self.later: list[Any] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.later.append(lambda: fn(*args, **kwargs))
        return Future()


@pytest.fixture
def session_pool() -> Spares:
    return Spares()


@pytest.fixture
def beside() -> Beside:
    return Beside()


@pytest.fixture
def sessions(
    agent: Agentforce,
    session_pool: Spares,
    table: AgentSessionTable,
    database: Database,
    metrics: Metrics,
    beside: Beside,
) -> AgentSessions:
    return AgentSessions(
        agent=agent,
        session_pool=session_pool,
        table=table,
        leases=DatabaseLeases(database=database),
        metrics=metrics,
        background=beside,
        idle=IDLE,
    )


@pytest.fixture
def statements(database: Database) -> list[str]:
    """What the database was told, by its first word."""
    told: list[str] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _c, _x, sql, *_: told.append(sql.split()[0]),
    )
    return told


def starts(provider: Sandbox) -> int:
    return len(provider.recorder.calls("agentforce", "session"))


def hello(sessions: AgentSessions, sender: str = ANA) -> AgentSession:
    """One turn; returns the session that it began in."""
    session = sessions.prewarm(sender)
    assert sessions.ask(sender, session, "hello").text.startswith("Hello!")
    return session


def age(table: AgentSessionTable, seconds: float) -> AgentSession:
    """Let ana's session be unused for so long."""
    known = table.find(ANA)
    assert known
    put_session(table, ANA, AgentSession(known.id, time.time() - seconds))
    return known


def test_a_turn_whose_session_lives_reads_once(
    sessions: AgentSessions, statements: list[str]
) -> None:
    first = hello(sessions)
    statements.clear()
    assert hello(sessions).id == first.id
    assert statements == ["SELECT"]


def test_a_turn_keeps_its_session_from_idling(
    sessions: AgentSessions, table: AgentSessionTable
) -> None:
    """From its first line on, for hearing may take long, and again from the answer on."""
    hello(sessions)
    age(table, IDLE - 5)
    found = sessions.prewarm(ANA)
    noted = table.find(ANA)
    assert noted
    assert time.time() - noted.used_at < 60
    age(table, 100)
    sessions.ask(ANA, replace(found, used_at=found.used_at - 100), "hello")
    noted = table.find(ANA)
    assert noted
    assert time.time() - noted.used_at < 60


def test_a_session_of_a_process_that_noted_questions_is_personal_before_one_is_asked(
    sessions: AgentSessions, database: Database
) -> None:
    """Or what nobody notes here would pass for public there."""
    noting = AgentSessionTable(database=database, tracks_privacy=True)
    session = hello(sessions)
    put_session(noting, ANA, AgentSession(session.id, time.time()))
    assert noting.privacy(ANA) == SessionPrivacy.EMPTY
    sessions.prewarm(ANA)
    assert noting.privacy(ANA) == SessionPrivacy.PRIVATE


def test_a_session_that_idled_is_replaced_and_ended_beside(
    provider: Sandbox,
    sessions: AgentSessions,
    table: AgentSessionTable,
    beside: Beside,
    metrics: Metrics,
) -> None:
    hello(sessions)
    old = age(table, IDLE + 1)
    new = hello(sessions)
    assert new.id != old.id
    assert old.id not in [ended.session_id for ended in provider.agentforce.ended]
    (end,) = beside.later
    end()
    assert (provider.agentforce.ended[-1].session_id, provider.agentforce.ended[-1].reason) == (
        old.id,
        "Expiration",
    )
    assert metrics.snapshot().counters["sessions_renewed"] == 1


def test_a_spare_session_is_taken_by_whoever_has_none_or_an_idle_one(
    provider: Sandbox,
    agent: Agentforce,
    sessions: AgentSessions,
    session_pool: Spares,
    table: AgentSessionTable,
) -> None:
    first, second = agent.start(), agent.start()
    session_pool.kept = [second, first]
    provider.recorder.clear()
    assert hello(sessions).id == first.id
    age(table, IDLE + 1)
    assert hello(sessions).id == second.id
    assert starts(provider) == 0


def test_a_spare_session_that_is_gone_is_replaced_by_one_that_is_surely_new(
    provider: Sandbox,
    agent: Agentforce,
    sessions: AgentSessions,
    session_pool: Spares,
    table: AgentSessionTable,
) -> None:
    session_pool.kept = [agent.start(), agent.start()]
    provider.agentforce.forget_sessions()
    hello(sessions)
    known = table.find(ANA)
    assert known
    assert provider.agentforce.questions[-1].session_id == known.id
    assert starts(provider) == 3


def test_a_session_that_was_renewed_elsewhere_meanwhile_stays(
    agent: Agentforce, sessions: AgentSessions, table: AgentSessionTable, provider: Sandbox
) -> None:
    """After an answer in the old one, and after Agentforce has forgotten the old one."""
    old, new = sessions.prewarm(ANA), agent.start()
    put_session(table, ANA, new)
    sessions.ask(ANA, old, "hello")
    assert table.find(ANA) == new
    agent.end(old, "Other")
    provider.recorder.clear()
    sessions.ask(ANA, AgentSession("00000000-0000-0000-0000-000000000000", 0.0), "hello")
    assert provider.agentforce.questions[-1].session_id == new.id
    assert starts(provider) == 0


def test_a_session_that_comes_too_late_is_ended_and_not_put_in_place_of_the_other(
    agent: Agentforce,
    sessions: AgentSessions,
    table: AgentSessionTable,
    provider: Sandbox,
    beside: Beside,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process took over while this one started it, and the question is asked there."""
    theirs, start = agent.start(), agent.start

    def start_slowly(*, patient: bool = True) -> AgentSession:
        late = start(patient=patient)
        table.insert(ANA, theirs)
        return late

    monkeypatch.setattr(agent, "start", start_slowly)
    assert sessions.prewarm(ANA).id == theirs.id
    (end,) = beside.later
    end()
    (ended,) = provider.agentforce.ended[-1:]
    assert ended.session_id != theirs.id
    assert table.find(ANA) == theirs


def test_a_session_that_the_agent_ended_is_not_used_again(
    sessions: AgentSessions, table: AgentSessionTable
) -> None:
    session = sessions.prewarm(ANA)
    assert sessions.ask(ANA, session, "Goodbye").ended
    assert table.find(ANA) is None


def test_the_next_may_try_again_where_a_session_cannot_be_started(
    provider: Sandbox, sessions: AgentSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentforce.RETRY_DELAYS", ())
    provider.faults.add(Fault("agentforce", "session", status=503))
    with pytest.raises(AgentUnavailable):
        sessions.prewarm(ANA)
    hello(sessions)


def test_expiring_spares_a_session_that_was_used_since(
    provider: Sandbox, sessions: AgentSessions, table: AgentSessionTable
) -> None:
    session = hello(sessions)
    sessions.expire(ANA, unused_since=time.time() - 60)
    assert table.find(ANA)
    sessions.expire(ANA, unused_since=time.time() + 60)
    assert table.find(ANA) is None
    assert provider.agentforce.ended[-1].session_id == session.id


def test_the_connection_of_an_ended_session_is_used_again(
    provider: Sandbox, agent: Agentforce
) -> None:
    agent.end(agent.start(), "Other")
    before = provider.agentforce.connections
    agent.end(agent.start(), "Other")
    agent.end(AgentSession("00000000-0000-0000-0000-000000000000", 0.0), "Other")
    agent.start()
    assert provider.agentforce.connections == before


# What a session that Agentforce does not know may be answered with.
GONE = {
    "reference": '{"status": 404, "error": "NotFoundError", "message": "Session not found"}',
    "other words": '{"status": 404, "error": "ResourceNotFound", "message": "No conversation"}',
    "list": '[{"errorCode": "NOT_FOUND", "message": "The session has expired"}]',
    "empty object": "{}",
    "HTML": "<html><title>URL No Longer Exists</title></html>",
    "text": "Not Found",
}
INACTIVE = '{"status": 404, "message": "404 [{\\"message\\":\\"No valid version available\\"}]"}'


def gone(body: str, *, call: str = "ask", times: int = 1, status: int = 404) -> Fault:
    return Fault("agentforce", call, status=status, body=body, times=times)


@pytest.mark.parametrize("body", GONE.values(), ids=GONE.keys())
def test_a_session_is_gone_in_whatever_words_its_404_comes(
    provider: Sandbox,
    sessions: AgentSessions,
    table: AgentSessionTable,
    metrics: Metrics,
    body: str,
) -> None:
    first = sessions.prewarm(ANA)
    provider.faults.add(gone(body))
    assert sessions.ask(ANA, first, "hello").text.startswith("Hello!")
    known = table.find(ANA)
    assert known
    assert known.id != first.id
    assert starts(provider) == 2
    assert len(provider.recorder.calls("agentforce", "ask")) == 2
    assert metrics.snapshot().counters["sessions_renewed"] == 1


@pytest.mark.parametrize("body", [*GONE.values(), ""], ids=[*GONE.keys(), "410 without a body"])
def test_a_410_is_taken_like_a_404(provider: Sandbox, sessions: AgentSessions, body: str) -> None:
    session = sessions.prewarm(ANA)
    provider.faults.add(gone(body, status=410))
    assert sessions.ask(ANA, session, "hello").text.startswith("Hello!")
    assert starts(provider) == 2


def test_a_new_session_that_is_gone_too_fails_the_turn(
    provider: Sandbox, sessions: AgentSessions
) -> None:
    session = sessions.prewarm(ANA)
    provider.faults.add(gone(GONE["other words"], times=9))
    with pytest.raises(SessionGone):
        sessions.ask(ANA, session, "hello")
    assert starts(provider) == 2
    assert len(provider.recorder.calls("agentforce", "ask")) == 2


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("body", [INACTIVE, *GONE.values()], ids=["inactive agent", *GONE.keys()])
def test_a_session_that_cannot_start_is_a_matter_of_the_set_up(
    provider: Sandbox, sessions: AgentSessions, body: str, status: int
) -> None:
    """Whatever the question before it was answered with."""
    session = sessions.prewarm(ANA)
    provider.faults.add(gone(body))
    provider.faults.add(gone(body, call="session", times=9, status=status))
    with pytest.raises(AgentMisconfigured, match=f"HTTP {status}") as caught:
        sessions.ask(ANA, session, "hello")
    assert ("No valid version available" in str(caught.value)) == (body == INACTIVE)
    assert starts(provider) == 2


def test_a_404_without_a_body_is_a_matter_of_the_token(
    provider: Sandbox, sessions: AgentSessions, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a session as at its start (docs/providers/agentforce.md, "Refused tokens")."""
    # The token is good, so that the next one is fetched beside it.
    monkeypatch.setattr(provider.agentforce, "token_clients", 2)
    session = sessions.prewarm(ANA)
    provider.faults.add(gone(""))
    assert sessions.ask(ANA, session, "hello").text.startswith("Hello!")
    assert starts(provider) == 1
    assert metrics.snapshot().counters["tokens_fetched"] == 2


@pytest.mark.parametrize("body", GONE.values(), ids=GONE.keys())
def test_ending_a_session_that_is_gone_is_no_failure(
    provider: Sandbox, agent: Agentforce, body: str
) -> None:
    provider.faults.add(gone(body, call="end"))
    with capture_logs() as lines:
        agent.end(agent.start(), "Other")
    assert lines == []
