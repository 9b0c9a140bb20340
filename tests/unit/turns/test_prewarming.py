"""Sessions that are started before their turn asks, once for all that wait for them."""

from __future__ import annotations

import threading
from concurrent.futures import Executor

import pytest
from structlog.testing import capture_logs

from core.deadline import remaining_time
from core.errors import AgentUnavailable
from core.models import AgentSession
from storage.database import StorageError
from storage.turns import TurnTable
from tests.unit.executors import ImmediateExecutor, ManualExecutor
from turns.agent_sessions import AgentSessions
from turns.prewarming import Prewarmer

ANA, BEN = "whatsapp:+14155550001", "whatsapp:+14155550002"
LIMIT_SECONDS = 60.0
THREADS = 2
PATIENCE_SECONDS = 10.0


class NumberedSessions(AgentSessions):
    """Numbers the sessions that it starts, or raises ``error``; notes the deadlines it has."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.remaining: list[float | None] = []
        self.error: Exception | None = None

    def prewarm(self, sender: str) -> AgentSession:
        self.started.append(sender)
        self.remaining.append(remaining_time())
        if self.error:
            raise self.error
        return AgentSession(f"session {len(self.started)}", 0.0)


class Backlog(TurnTable):
    """A store with ``unfinished`` turns, or one that raises ``error``."""

    def __init__(self) -> None:
        self.unfinished = 1
        self.error: Exception | None = None

    def count_unfinished(self, *, limit: int) -> int:
        if self.error:
            raise self.error
        return min(self.unfinished, limit)


@pytest.fixture
def backlog() -> Backlog:
    return Backlog()


@pytest.fixture
def sessions() -> NumberedSessions:
    return NumberedSessions()


@pytest.fixture
def pool() -> ManualExecutor:
    return ManualExecutor()


@pytest.fixture
def prewarmer(backlog: Backlog, sessions: NumberedSessions, pool: ManualExecutor) -> Prewarmer:
    return build(backlog, sessions, pool)


def build(backlog: Backlog, sessions: NumberedSessions, pool: Executor) -> Prewarmer:
    return Prewarmer(
        turns=backlog, sessions=sessions, pool=pool, limit=LIMIT_SECONDS, threads=THREADS
    )


def test_all_who_wait_for_a_senders_session_share_one_start(
    prewarmer: Prewarmer, sessions: NumberedSessions, pool: ManualExecutor
) -> None:
    first, second = prewarmer.prewarm(ANA), prewarmer.prewarm(ANA)
    other = prewarmer.prewarm(BEN)
    pool.run_all()
    assert first.result(0) is second.result(0)
    assert other.result(0) != first.result(0)
    assert sessions.started == [ANA, BEN]


def test_a_session_that_has_started_is_not_handed_out_again(
    prewarmer: Prewarmer, sessions: NumberedSessions, pool: ManualExecutor
) -> None:
    """Whether it is still the sender's is for ``AgentSessions`` to find out anew."""
    first = prewarmer.prewarm(ANA)
    pool.run_all()
    second = prewarmer.prewarm(ANA)
    pool.run_all()
    assert first.result(0) != second.result(0)
    assert sessions.started == [ANA, ANA]


def test_a_failed_start_is_reported_to_all_who_wait_and_can_be_repeated(
    prewarmer: Prewarmer, sessions: NumberedSessions, pool: ManualExecutor
) -> None:
    sessions.error = AgentUnavailable()
    waiting = [prewarmer.prewarm(ANA), prewarmer.prewarm(ANA)]
    pool.run_all()
    for future in waiting:
        with pytest.raises(AgentUnavailable):
            future.result(0)
    sessions.error = None
    again = prewarmer.prewarm(ANA)
    pool.run_all()
    assert again.result(0).id == "session 2"


def test_a_start_that_runs_at_once_has_the_deadline_and_causes_no_deadlock(
    backlog: Backlog, sessions: NumberedSessions
) -> None:
    prewarmer = build(backlog, sessions, ImmediateExecutor())
    caller = threading.Thread(target=prewarmer.prewarm, args=(ANA,), daemon=True)
    caller.start()
    caller.join(PATIENCE_SECONDS)
    assert not caller.is_alive()
    (left,) = sessions.remaining
    assert left is not None
    assert 0 < left <= LIMIT_SECONDS


def test_schedule_starts_the_session_in_the_background(
    prewarmer: Prewarmer, sessions: NumberedSessions, pool: ManualExecutor
) -> None:
    prewarmer.schedule(ANA)
    assert sessions.started == []
    with capture_logs() as lines:
        pool.run_all()
    assert sessions.started == [ANA]
    assert [line["event"] for line in lines] == ["Pre-warming Agentforce session"]


@pytest.mark.parametrize(("unfinished", "started"), [(THREADS, [ANA]), (THREADS + 1, [])])
def test_schedule_starts_nothing_while_every_thread_has_a_turn(
    prewarmer: Prewarmer,
    backlog: Backlog,
    sessions: NumberedSessions,
    pool: ManualExecutor,
    unfinished: int,
    started: list[str],
) -> None:
    """The turn that the message itself adds is one of the unfinished ones."""
    backlog.unfinished = unfinished
    prewarmer.schedule(ANA)
    pool.run_all()
    assert sessions.started == started


def test_a_database_that_fails_is_logged_and_starts_no_session(
    prewarmer: Prewarmer, backlog: Backlog, sessions: NumberedSessions, pool: ManualExecutor
) -> None:
    backlog.error = StorageError("no connection")
    prewarmer.schedule(ANA)
    with capture_logs() as lines:
        pool.run_all()
    assert [line["event"] for line in lines] == ["Session not pre-warmed"]
    assert sessions.started == []
