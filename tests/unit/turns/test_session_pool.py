"""Sessions kept ready: how many, how old, and what becomes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from agentforce import Agentforce, EndReason
from core.errors import AgentUnavailable
from core.models import AgentSession
from metrics import Metrics
from turns import session_pool as spare_sessions
from turns.session_pool import SessionPool

PATIENCE = 10.0
LIFETIME = 1500.0


class Agent(Agentforce):
    """Starts and ends sessions, or fails to, and can be waited for."""

    def __init__(self, now: list[float]) -> None:
        self._now = now
        self.changed = threading.Condition()
        self.begun = 0
        self.started: list[str] = []
        self.ended: list[tuple[str, EndReason]] = []
        self.failures = 0
        # All starts but the first ``free`` ones wait for this.
        self.may_start = threading.Event()
        self.may_start.set()
        self.free = 0

    def start(self, *, patient: bool = True) -> AgentSession:
        assert not patient
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
            return AgentSession(self.started[-1], self._now[0])

    def end(self, session: AgentSession, reason: EndReason) -> None:
        with self.changed:
            self.ended.append((session.id, reason))
            self.changed.notify_all()

    def wait_for(self, found: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(found, PATIENCE), (self.started, self.ended)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(spare_sessions, "time", SimpleNamespace(time=lambda: now[0]))
    return now


@pytest.fixture
def agent(now: list[float]) -> Agent:
    return Agent(now)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


Make = Callable[[int], SessionPool]


@pytest.fixture
def make(agent: Agent, metrics: Metrics) -> Iterator[Make]:
    made: list[SessionPool] = []

    def make(number: int) -> SessionPool:
        made.append(SessionPool(agent=agent, metrics=metrics, number=number, lifetime=LIFETIME))
        return made[-1]

    yield make
    for session_pool in made:
        session_pool.stop()


def taken(session_pool: SessionPool, agent: Agent) -> str:
    """The id of the next one, once there is one."""
    found: list[AgentSession] = []

    def take() -> bool:
        if session := session_pool.take():
            found.append(session)
        return bool(found)

    # What was started is at hand a moment later.
    while not take():
        agent.wait_for(lambda: bool(agent.started))
    return found[0].id


def test_each_that_is_taken_is_replaced_at_once(make: Make, agent: Agent, metrics: Metrics) -> None:
    session_pool = make(2)
    session_pool.start()
    agent.wait_for(lambda: len(agent.started) == 2)
    assert [taken(session_pool, agent), taken(session_pool, agent)] == ["spare 0", "spare 1"]
    agent.wait_for(lambda: len(agent.started) == 4)
    assert taken(session_pool, agent) == "spare 2"
    assert metrics.snapshot().counters["sessions_spare_used"] == 3
    assert not agent.ended


def test_taking_never_waits(make: Make, agent: Agent) -> None:
    agent.may_start.clear()
    session_pool = make(1)
    session_pool.start()
    agent.wait_for(lambda: agent.begun == 1)
    assert session_pool.take() is None
    agent.may_start.set()
    assert taken(session_pool, agent) == "spare 0"


def test_one_that_nobody_took_in_time_is_ended_and_replaced(
    make: Make, agent: Agent, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare_sessions, "LOOK_SECONDS", 0.001)
    session_pool = make(1)
    session_pool.start()
    agent.wait_for(lambda: len(agent.started) == 1)
    now[0] += LIFETIME - 1
    assert taken(session_pool, agent) == "spare 0"
    agent.wait_for(lambda: len(agent.started) == 2)
    now[0] += LIFETIME
    agent.wait_for(lambda: agent.ended == [("spare 1", "Expiration")])
    assert taken(session_pool, agent) == "spare 2"


def test_one_that_got_too_old_is_not_given_away(make: Make, agent: Agent, now: list[float]) -> None:
    agent.free = 1
    agent.may_start.clear()
    session_pool = make(2)
    session_pool.start()
    # The first one is at hand by now.
    agent.wait_for(lambda: agent.begun == 2)
    now[0] += LIFETIME
    assert session_pool.take() is None
    now[0] -= 1
    assert session_pool.take()
    agent.may_start.set()


def test_those_that_are_left_are_ended_at_a_stop(make: Make, agent: Agent) -> None:
    """Also one that was being started then."""
    session_pool = make(2)
    session_pool.start()
    agent.wait_for(lambda: len(agent.started) == 2)
    agent.may_start.clear()
    taken(session_pool, agent)
    agent.wait_for(lambda: agent.begun == 3)
    session_pool.stop()
    assert session_pool.take() is None
    agent.may_start.set()
    session_pool.join(PATIENCE)
    assert agent.ended == [("spare 1", "Other"), ("spare 2", "Other")]


def test_a_stop_waits_for_so_long_only(make: Make, agent: Agent) -> None:
    agent.may_start.clear()
    session_pool = make(1)
    session_pool.start()
    agent.wait_for(lambda: agent.begun == 1)
    session_pool.stop()
    session_pool.join(0.01)
    assert not agent.ended
    agent.may_start.set()


def test_a_start_that_fails_is_logged_and_tried_again(
    make: Make, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare_sessions, "LOOK_SECONDS", 0.001)
    agent.failures = 2
    session_pool = make(1)
    with capture_logs() as lines:
        session_pool.start()
        assert taken(session_pool, agent) == "spare 0"
    assert [line["log_level"] for line in lines] == ["warning"] * 2


def test_none_are_started_where_none_are_wanted(make: Make, agent: Agent) -> None:
    session_pool = make(0)
    session_pool.start()
    assert session_pool.take() is None
    session_pool.stop()
    session_pool.join(PATIENCE)
    assert agent.begun == 0
