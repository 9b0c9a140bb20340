"""The pool of spare sessions: how many it holds, how old they get, and how they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from agentforce import Agentforce, EndReason
from core.errors import AgentUnavailable, DeadlineExceeded
from core.models import AgentSession
from metrics import Metrics
from tests.unit.conftest import Clock
from turns import session_pool as turns_session_pool
from turns.session_pool import SessionPool

PATIENCE = 10.0
LIFETIME = 1500.0


class Agent(Agentforce):
    """Starts and ends sessions or fails to, and lets a test wait for that."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.changed = threading.Condition()
        self.begun = 0
        self.started: list[str] = []
        self.ended: list[tuple[str, EndReason]] = []
        self.failures = 0
        # Every start beyond the first ``free`` ones waits for this event.
        self.may_start = threading.Event()
        self.may_start.set()
        self.free = 0

    def start(self, *, retry: bool = True) -> AgentSession:
        assert not retry
        with self.changed:
            self.begun += 1
            held = self.begun > self.free
            self.changed.notify_all()
        assert not held or self.may_start.wait(PATIENCE)
        with self.changed:
            if self.failures:
                self.failures -= 1
                raise AgentUnavailable
            self.started.append(f"spare {len(self.started)}")
            self.changed.notify_all()
            return AgentSession(self.started[-1], self._clock.now)

    def end(self, session: AgentSession, reason: EndReason) -> None:
        with self.changed:
            self.ended.append((session.id, reason))
            self.changed.notify_all()

    def wait_for(self, found: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(found, PATIENCE), (self.started, self.ended)


@pytest.fixture
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock.install(monkeypatch, turns_session_pool)
    return clock


@pytest.fixture
def agent(clock: Clock) -> Agent:
    return Agent(clock)


MakePool = Callable[[int], SessionPool]


@pytest.fixture
def make_pool(agent: Agent, metrics: Metrics) -> Iterator[MakePool]:
    made: list[SessionPool] = []

    def make(number: int) -> SessionPool:
        made.append(SessionPool(agent=agent, metrics=metrics, number=number, lifetime=LIFETIME))
        return made[-1]

    yield make
    for session_pool in made:
        session_pool.stop()


def take_next(session_pool: SessionPool, agent: Agent) -> str:
    """Take a session once the pool has one, and return its id."""
    found: list[AgentSession] = []

    def take() -> bool:
        if session := session_pool.take():
            found.append(session)
        return bool(found)

    # A started session is in the pool a moment later.
    while not take():
        agent.wait_for(lambda: bool(agent.started))
    return found[0].id


def test_a_taken_session_is_replaced_at_once(
    make_pool: MakePool, agent: Agent, metrics: Metrics
) -> None:
    session_pool = make_pool(2)
    session_pool.start()
    agent.wait_for(lambda: len(agent.started) == 2)
    assert [take_next(session_pool, agent), take_next(session_pool, agent)] == [
        "spare 0",
        "spare 1",
    ]
    agent.wait_for(lambda: len(agent.started) == 4)
    assert take_next(session_pool, agent) == "spare 2"
    assert metrics.snapshot().counters["sessions_spare_used"] == 3
    assert not agent.ended


def test_taking_never_waits(make_pool: MakePool, agent: Agent) -> None:
    agent.may_start.clear()
    session_pool = make_pool(1)
    session_pool.start()
    agent.wait_for(lambda: agent.begun == 1)
    assert session_pool.take() is None
    agent.may_start.set()
    assert take_next(session_pool, agent) == "spare 0"


def test_a_session_that_nobody_took_in_time_is_ended_and_replaced(
    make_pool: MakePool, agent: Agent, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_session_pool, "LOOK_SECONDS", 0.001)
    session_pool = make_pool(1)
    session_pool.start()
    agent.wait_for(lambda: len(agent.started) == 1)
    clock.now += LIFETIME - 1
    assert take_next(session_pool, agent) == "spare 0"
    agent.wait_for(lambda: len(agent.started) == 2)
    clock.now += LIFETIME
    agent.wait_for(lambda: agent.ended == [("spare 1", "Expiration")])
    assert take_next(session_pool, agent) == "spare 2"


def test_a_session_that_is_too_old_is_not_handed_out(
    make_pool: MakePool, agent: Agent, clock: Clock
) -> None:
    agent.free = 1
    agent.may_start.clear()
    session_pool = make_pool(2)
    session_pool.start()
    # The second start has begun, so the first session is in the pool.
    agent.wait_for(lambda: agent.begun == 2)
    clock.now += LIFETIME
    assert session_pool.take() is None
    clock.now -= 1
    assert session_pool.take()
    agent.may_start.set()


def test_stop_ends_the_sessions_that_are_left(make_pool: MakePool, agent: Agent) -> None:
    """Also one that was still starting then."""
    session_pool = make_pool(2)
    session_pool.start()
    agent.wait_for(lambda: len(agent.started) == 2)
    agent.may_start.clear()
    take_next(session_pool, agent)
    agent.wait_for(lambda: agent.begun == 3)
    session_pool.stop()
    assert session_pool.take() is None
    agent.may_start.set()
    session_pool.join(PATIENCE)
    assert agent.ended == [("spare 1", "Other"), ("spare 2", "Other")]


def test_join_waits_no_longer_than_its_timeout(make_pool: MakePool, agent: Agent) -> None:
    agent.may_start.clear()
    session_pool = make_pool(1)
    session_pool.start()
    agent.wait_for(lambda: agent.begun == 1)
    session_pool.stop()
    session_pool.join(0.01)
    assert not agent.ended
    agent.may_start.set()


def test_a_failed_start_is_logged_and_repeated(
    make_pool: MakePool, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_session_pool, "LOOK_SECONDS", 0.001)
    agent.failures = 2
    session_pool = make_pool(1)
    with capture_logs() as lines:
        session_pool.start()
        assert take_next(session_pool, agent) == "spare 0"
    assert [line["log_level"] for line in lines] == ["warning"] * 2


def test_a_pool_of_size_zero_starts_nothing(make_pool: MakePool, agent: Agent) -> None:
    session_pool = make_pool(0)
    session_pool.start()
    assert session_pool.take() is None
    session_pool.stop()
    session_pool.join(PATIENCE)
    assert agent.begun == 0


def test_the_last_start_tells_whether_sessions_can_be_started(
    make_pool: MakePool, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_session_pool, "LOOK_SECONDS", 0.001)
    session_pool = make_pool(1)
    assert session_pool.last_start(PATIENCE) is None
    agent.may_start.clear()
    session_pool.start()
    with pytest.raises(DeadlineExceeded):
        session_pool.last_start(0.01)
    agent.failures = 1
    agent.may_start.set()
    with pytest.raises(AgentUnavailable), capture_logs():
        while session_pool.last_start(PATIENCE) == 0.0:
            pass
    take_next(session_pool, agent)
    assert session_pool.last_start(PATIENCE) is not None
