"""Which Agentforce session a sender gets, and at what cost; against the stand-in of Agentforce."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from agentforce import Agentforce, SessionGone
from core.errors import AgentDown, AgentMisconfigured, AgentUnavailable
from core.models import AgentSession, SessionPrivacy
from core.settings import Settings
from metrics import Metrics
from sandbox import Sandbox
from sandbox.faults import Fault
from sandbox.speech.fixture import FixtureSpeech
from storage.agent_sessions import AgentSessionTable
from storage.database import Database
from storage.engine import open_sqlite
from storage.leases import DatabaseLeases
from tests.unit.conftest import PUBLIC_URL, agent_of, put_session
from tests.unit.executors import ManualExecutor
from turns.agent_sessions import AgentSessions
from turns.session_pool import SessionPool

IDLE = 1800.0
ANA = "whatsapp:+14155550001"


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox(speech=FixtureSpeech()) as sandbox:
        yield sandbox


@pytest.fixture
def provider(shared_sandbox: Sandbox) -> Iterator[Sandbox]:
    shared_sandbox.faults.clear()
    shared_sandbox.recorder.clear()
    shared_sandbox.agentforce.forget_tokens()
    yield shared_sandbox
    assert not shared_sandbox.recorder.violations


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_sqlite(str(tmp_path))


@pytest.fixture
def table(database: Database) -> AgentSessionTable:
    return AgentSessionTable(database=database)


@pytest.fixture
def agent(provider: Sandbox, metrics: Metrics) -> Agentforce:
    settings = Settings(**provider.environment(PUBLIC_URL))  # type: ignore[arg-type]
    return agent_of(settings, metrics=metrics)


class FilledPool(SessionPool):
    """A pool of the sessions that a test puts into it."""

    def __init__(self) -> None:
        self.sessions: list[AgentSession] = []

    def take(self) -> AgentSession | None:
        return self.sessions.pop() if self.sessions else None


@pytest.fixture
def session_pool() -> FilledPool:
    return FilledPool()


@pytest.fixture
def background() -> ManualExecutor:
    return ManualExecutor()


@pytest.fixture
def sessions(
    agent: Agentforce,
    session_pool: FilledPool,
    table: AgentSessionTable,
    database: Database,
    metrics: Metrics,
    background: ManualExecutor,
) -> AgentSessions:
    return AgentSessions(
        agent=agent,
        session_pool=session_pool,
        table=table,
        leases=DatabaseLeases(database=database),
        metrics=metrics,
        background=background,
        idle=IDLE,
    )


@pytest.fixture
def statements(database: Database) -> list[str]:
    """The first word of each statement that the database gets."""
    verbs: list[str] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _c, _x, sql, *_: verbs.append(sql.split()[0]),
    )
    return verbs


def count_starts(provider: Sandbox) -> int:
    return len(provider.recorder.calls("agentforce", "session"))


def hello(sessions: AgentSessions, sender: str = ANA) -> AgentSession:
    """Run one turn and return the session that it began in."""
    session = sessions.prewarm(sender)
    assert sessions.ask(sender, session, "hello").text.startswith("Hello!")
    return session


def age(table: AgentSessionTable, seconds: float) -> AgentSession:
    """Make Ana's session unused for so many seconds."""
    known = table.find(ANA)
    assert known
    put_session(table, ANA, AgentSession(known.id, time.time() - seconds))
    return known


def check_just_used(table: AgentSessionTable) -> None:
    session = table.find(ANA)
    assert session
    assert time.time() - session.used_at < 60


def test_a_turn_in_a_live_session_reads_the_database_once(
    sessions: AgentSessions, statements: list[str]
) -> None:
    first = hello(sessions)
    statements.clear()
    assert hello(sessions).id == first.id
    assert statements == ["SELECT"]


def test_a_turn_marks_its_session_as_used_at_its_start_and_at_its_answer(
    sessions: AgentSessions, table: AgentSessionTable
) -> None:
    """Transcribing before the question may take long, and so may the answer."""
    hello(sessions)
    age(table, IDLE - 5)
    found = sessions.prewarm(ANA)
    check_just_used(table)
    age(table, 100)
    sessions.ask(ANA, replace(found, used_at=found.used_at - 100), "hello")
    check_just_used(table)


def test_a_session_used_without_recording_questions_counts_as_private(
    sessions: AgentSessions, database: Database
) -> None:
    """Otherwise a process that records them would take the unrecorded ones for public."""
    recording = AgentSessionTable(database=database, tracks_privacy=True)
    session = hello(sessions)
    put_session(recording, ANA, AgentSession(session.id, time.time()))
    assert recording.privacy(ANA) == SessionPrivacy.EMPTY
    sessions.prewarm(ANA)
    assert recording.privacy(ANA) == SessionPrivacy.PRIVATE


def test_an_idle_session_is_replaced_and_ended_in_the_background(
    provider: Sandbox,
    sessions: AgentSessions,
    table: AgentSessionTable,
    background: ManualExecutor,
    metrics: Metrics,
) -> None:
    hello(sessions)
    old = age(table, IDLE + 1)
    new = hello(sessions)
    assert new.id != old.id
    assert old.id not in [ended.session_id for ended in provider.agentforce.ended]
    assert background.run_all() == 1
    assert (provider.agentforce.ended[-1].session_id, provider.agentforce.ended[-1].reason) == (
        old.id,
        "Expiration",
    )
    assert metrics.snapshot().counters["sessions_renewed"] == 1


def test_a_sender_without_a_live_session_gets_one_of_the_pool(
    provider: Sandbox,
    agent: Agentforce,
    sessions: AgentSessions,
    session_pool: FilledPool,
    table: AgentSessionTable,
) -> None:
    first, second = agent.start(), agent.start()
    session_pool.sessions = [second, first]
    provider.recorder.clear()
    assert hello(sessions).id == first.id
    age(table, IDLE + 1)
    assert hello(sessions).id == second.id
    assert count_starts(provider) == 0


def test_a_pooled_session_that_agentforce_forgot_is_replaced_by_a_new_one(
    provider: Sandbox,
    agent: Agentforce,
    sessions: AgentSessions,
    session_pool: FilledPool,
    table: AgentSessionTable,
) -> None:
    session_pool.sessions = [agent.start(), agent.start()]
    provider.agentforce.forget_sessions()
    hello(sessions)
    known = table.find(ANA)
    assert known
    assert provider.agentforce.questions[-1].session_id == known.id
    assert count_starts(provider) == 3


def test_a_session_that_another_process_renewed_is_kept(
    agent: Agentforce, sessions: AgentSessions, table: AgentSessionTable, provider: Sandbox
) -> None:
    """Both after an answer in the old one and after Agentforce has forgotten the old one."""
    old, new = sessions.prewarm(ANA), agent.start()
    put_session(table, ANA, new)
    sessions.ask(ANA, old, "hello")
    assert table.find(ANA) == new
    agent.end(old, "Other")
    provider.recorder.clear()
    sessions.ask(ANA, AgentSession("00000000-0000-0000-0000-000000000000", 0.0), "hello")
    assert provider.agentforce.questions[-1].session_id == new.id
    assert count_starts(provider) == 0


def test_a_session_that_another_process_saved_first_wins_and_ours_is_ended(
    agent: Agentforce,
    sessions: AgentSessions,
    table: AgentSessionTable,
    provider: Sandbox,
    background: ManualExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process took the turn over while this one was starting a session."""
    theirs, start = agent.start(), agent.start

    def start_slowly(*, retry: bool = True) -> AgentSession:
        late = start(retry=retry)
        table.insert(ANA, theirs)
        return late

    monkeypatch.setattr(agent, "start", start_slowly)
    assert sessions.prewarm(ANA).id == theirs.id
    assert background.run_all() == 1
    (ended,) = provider.agentforce.ended[-1:]
    assert ended.session_id != theirs.id
    assert table.find(ANA) == theirs


def test_a_session_that_the_agent_ended_is_not_used_again(
    sessions: AgentSessions, table: AgentSessionTable
) -> None:
    session = sessions.prewarm(ANA)
    assert sessions.ask(ANA, session, "Goodbye").ended
    assert table.find(ANA) is None


def test_a_failed_session_start_does_not_block_the_next_turn(
    provider: Sandbox, sessions: AgentSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentforce.RETRY_DELAYS", ())
    provider.faults.add(Fault("agentforce", "session", status=503))
    with pytest.raises(AgentUnavailable):
        sessions.prewarm(ANA)
    hello(sessions)


def test_expire_ends_only_a_session_unused_since_the_given_time(
    provider: Sandbox, sessions: AgentSessions, table: AgentSessionTable
) -> None:
    session = hello(sessions)
    sessions.expire(ANA, unused_since=time.time() - 60)
    assert table.find(ANA)
    sessions.expire(ANA, unused_since=time.time() + 60)
    assert table.find(ANA) is None
    assert provider.agentforce.ended[-1].session_id == session.id


def test_ending_a_session_leaves_its_connection_open_for_reuse(
    provider: Sandbox, agent: Agentforce
) -> None:
    agent.end(agent.start(), "Other")
    before = provider.agentforce.connections
    agent.end(agent.start(), "Other")
    agent.end(AgentSession("00000000-0000-0000-0000-000000000000", 0.0), "Other")
    agent.start()
    assert provider.agentforce.connections == before


# Bodies with which Agentforce may answer 404 for a session it does not know.
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
def test_a_404_of_any_wording_renews_the_session(
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
    assert count_starts(provider) == 2
    assert len(provider.recorder.calls("agentforce", "ask")) == 2
    assert metrics.snapshot().counters["sessions_renewed"] == 1


@pytest.mark.parametrize("body", [*GONE.values(), ""], ids=[*GONE.keys(), "410 without a body"])
def test_a_410_renews_the_session_like_a_404(
    provider: Sandbox, sessions: AgentSessions, body: str
) -> None:
    session = sessions.prewarm(ANA)
    provider.faults.add(gone(body, status=410))
    assert sessions.ask(ANA, session, "hello").text.startswith("Hello!")
    assert count_starts(provider) == 2


def test_a_new_session_that_is_gone_too_fails_the_turn(
    provider: Sandbox, sessions: AgentSessions
) -> None:
    session = sessions.prewarm(ANA)
    provider.faults.add(gone(GONE["other words"], times=9))
    with pytest.raises(SessionGone):
        sessions.ask(ANA, session, "hello")
    assert count_starts(provider) == 2
    assert len(provider.recorder.calls("agentforce", "ask")) == 2


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("body", [INACTIVE, *GONE.values()], ids=["inactive agent", *GONE.keys()])
def test_a_session_start_that_gets_404_or_410_means_a_wrong_configuration(
    provider: Sandbox, sessions: AgentSessions, body: str, status: int
) -> None:
    """Whatever the answer to the question before it was."""
    session = sessions.prewarm(ANA)
    provider.faults.add(gone(body))
    provider.faults.add(gone(body, call="session", times=9, status=status))
    with pytest.raises(AgentMisconfigured, match=f"HTTP {status}") as caught:
        sessions.ask(ANA, session, "hello")
    assert ("No valid version available" in str(caught.value)) == (body == INACTIVE)
    assert count_starts(provider) == 2


def test_an_unknown_error_is_a_wrong_agent_id_only_at_the_start_of_a_session(
    provider: Sandbox, sessions: AgentSessions
) -> None:
    session = sessions.prewarm(ANA)
    provider.faults.add(Fault("agentforce", "ask", "status", status=500))
    with pytest.raises(AgentDown, match="UNKNOWN_EXCEPTION"):
        sessions.ask(ANA, session, "hello")
    provider.faults.add(Fault("agentforce", "session", "status", status=500))
    with pytest.raises(AgentMisconfigured, match="UNKNOWN_EXCEPTION"):
        sessions.prewarm("whatsapp:+14155550002")


def test_a_404_without_a_body_refreshes_the_token(
    provider: Sandbox, sessions: AgentSessions, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/providers/agentforce.md, "Refused tokens"."""
    # The stand-in's token stays valid, so a second one must be allowed.
    monkeypatch.setattr(provider.agentforce, "token_clients", 2)
    session = sessions.prewarm(ANA)
    provider.faults.add(gone(""))
    assert sessions.ask(ANA, session, "hello").text.startswith("Hello!")
    assert count_starts(provider) == 1
    assert metrics.snapshot().counters["tokens_fetched"] == 2


@pytest.mark.parametrize("body", GONE.values(), ids=GONE.keys())
def test_ending_a_session_that_is_gone_is_no_failure(
    provider: Sandbox, agent: Agentforce, body: str
) -> None:
    provider.faults.add(gone(body, call="end"))
    with capture_logs() as lines:
        agent.end(agent.start(), "Other")
    assert lines == []
