"""Clients at the rate limits of providers, against the stand-ins over HTTP."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import imageio_ffmpeg
import pytest
import tenacity.nap

from agentforce import Agentforce
from audio.ffmpeg import Ffmpeg
from core.errors import AgentBusy, AgentLocked, SendBusy, SendUnreachable
from core.models import AgentSession
from core.settings import Settings
from http_clients.circuit_breakers import CircuitBreakers
from metrics import Metrics
from sandbox import Sandbox
from sandbox.faults import Fault
from sandbox.latency import LatencyProfile
from sandbox.speech.fixture import FixtureSpeech
from speech.elevenlabs import Speech
from tests.unit.conftest import agent_of
from whatsapp.client import WhatsApp

USERS = [f"whatsapp:+{14155551000 + number}" for number in range(24)]
AT_ONCE = 3
PACE = LatencyProfile(ask=0.1, send=0.1, speak=0.1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speech=FixtureSpeech(), latency=PACE) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def reset_sandbox(sandbox: Sandbox) -> None:
    sandbox.faults.clear()
    sandbox.recorder.clear()
    for user in USERS:
        sandbox.twilio.open_window(user)


@pytest.fixture
def settings(sandbox: Sandbox) -> Settings:
    return Settings(**sandbox.environment("http://127.0.0.1:9"))  # type: ignore[arg-type]


@pytest.fixture
def agent(sandbox: Sandbox, settings: Settings) -> Agentforce:
    sandbox.agentforce.forget_tokens()
    return agent_of(settings, connections=len(USERS))


@pytest.fixture
def whatsapp(settings: Settings) -> WhatsApp:
    return WhatsApp(
        settings=settings, metrics=Metrics(), connections=len(USERS), typing_connections=1
    )


@pytest.fixture
def speech(settings: Settings) -> Speech:
    return _speech(settings)


def _speech(settings: Settings) -> Speech:
    return Speech(
        settings=settings,
        ffmpeg=Ffmpeg(path=imageio_ffmpeg.get_ffmpeg_exe(), max_seconds=60),
        metrics=Metrics(),
        breakers=CircuitBreakers(failures=0, seconds=30, metrics=Metrics()),
        connections=len(USERS),
    )


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, which are skipped."""
    waits: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=waits.append))
    return waits


def at_once(call: Callable[[str], object]) -> list[object]:
    """Make the call for all users side by side."""
    with ThreadPoolExecutor(len(USERS)) as pool:
        return list(pool.map(call, USERS))


def ask_at_once(agent: Agentforce, sessions: Sequence[AgentSession], text: str) -> list[str]:
    """Ask in all sessions side by side."""
    with ThreadPoolExecutor(len(sessions)) as pool:
        return list(pool.map(lambda session: agent.ask(session, text).text, sessions))


def count_refused(sandbox: Sandbox, name: str) -> int:
    return sum(call.status == 429 for call in sandbox.recorder.calls(name=name))


class Crowd:
    """A latency at which no question is answered before all users have asked."""

    session = 0.0

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._complete = False

    @property
    def ask(self) -> float:
        self._sandbox.recorder.wait_for(self._is_complete)
        return 0.0

    def of(self, call: str) -> float:
        return 0.0

    def _is_complete(self) -> bool:
        self._complete |= len(self._sandbox.agentforce.busy) == len(USERS)
        return self._complete


def test_agentforce_with_a_low_limit_answers_everybody(
    sandbox: Sandbox, agent: Agentforce, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.agentforce, "concurrency", AT_ONCE)
    with ThreadPoolExecutor(len(USERS)) as pool:
        sessions = list(pool.map(lambda _: agent.start(), USERS))
    replies = ask_at_once(agent, sessions, "hello")
    assert all(reply.startswith("Hello!") for reply in replies)
    # By the next burst the limiter has learned.
    sandbox.recorder.clear()
    ask_at_once(agent, sessions, "thanks")
    assert count_refused(sandbox, "ask") <= len(USERS) / 2


def test_agentforce_without_a_limit_is_not_held_back(
    sandbox: Sandbox, agent: Agentforce, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locked sessions do not lower the limit, because they do not depend on how many ask."""
    sessions = [agent.start() for _ in USERS]
    sandbox.faults.add(Fault("agentforce", "ask", status=423, times=len(USERS)))
    monkeypatch.setattr(sandbox.agentforce, "latency", Crowd(sandbox))
    replies = ask_at_once(agent, sessions, "hello")
    assert all(reply.startswith("Hello!") for reply in replies)


def test_a_locked_session_is_tried_for_longer_than_a_rate_limit(
    sandbox: Sandbox, agent: Agentforce, slept: list[float]
) -> None:
    session = agent.start()
    sandbox.faults.add(Fault("agentforce", "ask", status=423, times=None))
    with pytest.raises(AgentLocked):
        agent.ask(session, "hello")
    assert 130 <= sum(slept) < 140
    sandbox.faults.clear()
    slept.clear()
    sandbox.faults.add(Fault("agentforce", "ask", status=429, times=None))
    with pytest.raises(AgentBusy):
        agent.ask(session, "hello")
    assert 60 <= sum(slept) < 70


def test_starting_a_session_is_tried_for_as_long(
    sandbox: Sandbox, agent: Agentforce, slept: list[float]
) -> None:
    sandbox.faults.add(Fault("agentforce", "session", status=429, times=None))
    with pytest.raises(AgentBusy):
        agent.start()
    assert 60 <= sum(slept) < 70


def test_twilio_with_a_low_limit_gets_every_message_once(
    sandbox: Sandbox, whatsapp: WhatsApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.twilio, "concurrency", AT_ONCE)
    sids = at_once(lambda user: whatsapp.send_text(user, "a burst", callback=""))
    accepted = [message.sid for message in sandbox.twilio.messages() if message.body == "a burst"]
    assert sorted(map(str, sids)) == sorted(accepted)
    assert len(accepted) == len(USERS)
    sandbox.recorder.clear()
    at_once(lambda user: whatsapp.send_text(user, "another", callback=""))
    assert count_refused(sandbox, "send") <= len(USERS) / 2


def test_a_rate_limit_of_twilio_differs_from_no_connection(
    sandbox: Sandbox, settings: Settings, whatsapp: WhatsApp, slept: list[float]
) -> None:
    sandbox.faults.add(Fault("twilio", "send", status=429, times=None))
    with pytest.raises(SendBusy):
        whatsapp.send_text(USERS[0], "hello", callback="")
    nowhere = settings.model_copy(update={"TWILIO_API_URL": "http://127.0.0.1:9"})
    unreachable = WhatsApp(settings=nowhere, metrics=Metrics(), connections=1, typing_connections=1)
    with pytest.raises(SendUnreachable):
        unreachable.send_text(USERS[0], "hello", callback="")


def test_a_small_plan_synthesizes_everything_later(
    sandbox: Sandbox, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox.elevenlabs.account, "concurrency", AT_ONCE)
    notes = at_once(lambda user: speech.synthesize("Hello!", "en"))
    assert all(notes)
    # By now the responses have said what the plan allows.
    sandbox.recorder.clear()
    at_once(lambda user: speech.synthesize("Hello!", "en"))
    assert count_refused(sandbox, "speak") == 0


def test_processes_share_the_plan(
    sandbox: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes with a third each never exceed it."""
    monkeypatch.setattr(sandbox.elevenlabs.account, "concurrency", 9)
    processes = [_speech(settings) for _ in range(3)]
    for process in processes:
        process.set_share(len(processes))
    turn = itertools.cycle(processes)
    at_once(lambda user: next(turn).synthesize("Hello!", "en"))
    assert count_refused(sandbox, "speak") == 0
