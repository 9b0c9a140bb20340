"""Answers of providers that are far too large end like answers that break off."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from types import SimpleNamespace

import imageio_ffmpeg
import pytest
import tenacity.nap

from agentforce import STREAM_LIMIT_BYTES, Agentforce
from audio.ffmpeg import Ffmpeg
from core.errors import (
    AgentDown,
    AgentMisconfigured,
    AgentUnavailable,
    SendUncertain,
    SpeechRefused,
    SpeechUnavailable,
)
from core.models import AgentReply
from core.settings import Settings
from http_clients.bodies import JSON_LIMIT_BYTES
from http_clients.circuit_breakers import CircuitBreakers
from http_clients.oauth_token import AccessToken
from http_clients.sessions import requests_session
from metrics import Metrics
from sandbox import Sandbox
from sandbox.faults import Fault
from sandbox.speech.fixture import FixtureSpeech
from speech.elevenlabs import ANSWER_LIMIT, Speech
from tests.unit.conftest import agent_of
from whatsapp.client import WhatsApp

USER = "whatsapp:+14155550100"
STREAM = {"Content-Type": "text/event-stream"}
JSON = {"Content-Type": "application/json"}
END = {"type": "EndOfTurn", "id": "e"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speech=FixtureSpeech()) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def afresh(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sits out the waits between tries."""
    sandbox.faults.clear()
    sandbox.recorder.clear()
    sandbox.twilio.open_window(USER)
    sandbox.agentforce.forget_tokens()
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def settings(sandbox: Sandbox) -> Settings:
    return Settings(**sandbox.environment("http://127.0.0.1:9"))  # type: ignore[arg-type]


@pytest.fixture
def agent(settings: Settings) -> Agentforce:
    return agent_of(settings)


@pytest.fixture
def whatsapp(settings: Settings) -> WhatsApp:
    return WhatsApp(settings=settings, metrics=Metrics(), width=1, typing_width=1)


@pytest.fixture
def speech(settings: Settings) -> Speech:
    return Speech(
        settings=settings,
        ffmpeg=Ffmpeg(path=imageio_ffmpeg.get_ffmpeg_exe(), longest_seconds=60),
        metrics=Metrics(),
        breakers=CircuitBreakers(failures=0, seconds=30, metrics=Metrics()),
        width=1,
    )


def answers(sandbox: Sandbox, call: str, body: str, headers: dict[str, str], status: int) -> None:
    """Let each such call have that answer."""
    service, name = call.split()
    sandbox.faults.add(Fault(service, name, status=status, body=body, headers=headers, times=None))


def padded(answer: object, limit: int) -> str:
    """The same in JSON, with more blanks than are read."""
    return json.dumps(answer) + " " * limit


def events(messages: int, *, size: int) -> str:
    """As many events, of so many bytes at least, and the end of the turn."""
    said = {"type": "ProgressIndicator", "message": "x" * size}
    each = f"data: {json.dumps({'message': said})}\n\n"
    return each * messages + f"data: {json.dumps({'message': END})}\n\n"


def claiming(claims: str) -> str:
    """A token that says so of itself, signed by nobody."""
    parts = ('{"alg": "none"}', claims)
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode() for part in parts) + "."


def test_a_token(sandbox: Sandbox, agent: Agentforce) -> None:
    answers(sandbox, "agentforce token", padded({"access_token": "x"}, JSON_LIMIT_BYTES), JSON, 200)
    with pytest.raises(AgentUnavailable, match="BodyTooLarge"):
        agent.start(patient=False)


def test_a_session(sandbox: Sandbox, agent: Agentforce) -> None:
    answers(sandbox, "agentforce session", padded({"sessionId": "x"}, JSON_LIMIT_BYTES), JSON, 200)
    with pytest.raises(AgentUnavailable):
        agent.start(patient=False)


def test_a_refusal_counts_by_its_status(sandbox: Sandbox, agent: Agentforce) -> None:
    answers(sandbox, "agentforce session", padded({"error": "x"}, JSON_LIMIT_BYTES), JSON, 403)
    with pytest.raises(AgentMisconfigured, match="403"):
        agent.start(patient=False)


def test_an_answer_whole(sandbox: Sandbox, settings: Settings) -> None:
    agent = agent_of(settings.model_copy(update={"AGENTFORCE_STREAMING": False}))
    session = agent.start()
    answers(sandbox, "agentforce ask", padded({"messages": []}, JSON_LIMIT_BYTES), JSON, 200)
    with pytest.raises(AgentDown):
        agent.ask(session, "Hello?")


@pytest.mark.parametrize(
    "body",
    [events(STREAM_LIMIT_BYTES // 60, size=1), events(1, size=STREAM_LIMIT_BYTES)],
    ids=["many events", "one event"],
)
def test_an_answer_as_it_comes(sandbox: Sandbox, agent: Agentforce, body: str) -> None:
    assert len(body) > STREAM_LIMIT_BYTES
    session = agent.start()
    answers(sandbox, "agentforce ask", body, STREAM, 200)
    with pytest.raises(AgentDown, match="BodyTooLarge"):
        agent.ask(session, "Hello?")


def test_a_long_answer_as_it_comes_is_none_of_these(sandbox: Sandbox, agent: Agentforce) -> None:
    """Ten thousand events of what one takes with its envelope."""
    session = agent.start()
    answers(sandbox, "agentforce ask", events(10_000, size=350), STREAM, 200)
    assert agent.ask(session, "Hello?") == AgentReply()


def test_what_twilio_says_of_a_message(sandbox: Sandbox, whatsapp: WhatsApp) -> None:
    answers(sandbox, "twilio send", padded({"sid": "SM1"}, JSON_LIMIT_BYTES), JSON, 201)
    with pytest.raises(SendUncertain):
        whatsapp.send_text(USER, "Hello!", callback="c")


def test_what_was_heard(sandbox: Sandbox, speech: Speech) -> None:
    answers(sandbox, "elevenlabs transcribe", padded({"text": "x"}, ANSWER_LIMIT), JSON, 200)
    with pytest.raises(SpeechUnavailable):
        speech.transcribe(bytes(32_000))


def test_what_is_spoken(sandbox: Sandbox, speech: Speech) -> None:
    ogg = {"Content-Type": "audio/ogg"}
    answers(sandbox, "elevenlabs speak", "OggS" * (ANSWER_LIMIT // 4 + 1), ogg, 200)
    with pytest.raises(SpeechUnavailable, match="RemoteProtocolError"):
        speech.synthesize("Hello!", "en")


# As much JSON as is read, that Python does not: more digits, or more depth, than it lets there be.
DIGITS = f'{{"text": {"1" * 5000}}}'
DEPTH = '{"text": ' + "[" * 100_000


@pytest.mark.parametrize("body", [DIGITS, DEPTH], ids=["digits", "depth"])
class TestUnreadable:
    def test_what_twilio_says_of_a_message(
        self, sandbox: Sandbox, whatsapp: WhatsApp, body: str
    ) -> None:
        answers(sandbox, "twilio send", body, JSON, 201)
        with pytest.raises(SendUncertain):
            whatsapp.send_text(USER, "Hello!", callback="c")

    def test_what_twilio_says_of_the_indicator(
        self, sandbox: Sandbox, whatsapp: WhatsApp, body: str
    ) -> None:
        answers(sandbox, "twilio typing", body, JSON, 200)
        whatsapp.show_typing(f"SM{'0' * 32}")

    def test_what_was_heard(self, sandbox: Sandbox, speech: Speech, body: str) -> None:
        answers(sandbox, "elevenlabs transcribe", body, JSON, 200)
        with pytest.raises(SpeechUnavailable):
            speech.transcribe(bytes(32_000))

    def test_a_refusal_to_speak(self, sandbox: Sandbox, speech: Speech, body: str) -> None:
        answers(sandbox, "elevenlabs speak", body, JSON, 401)
        with pytest.raises((SpeechRefused, SpeechUnavailable)):
            speech.synthesize("Hello!", "en")

    def test_an_answer_as_it_comes(self, sandbox: Sandbox, agent: Agentforce, body: str) -> None:
        session = agent.start()
        answers(sandbox, "agentforce ask", f"data: {body}\n\n{events(0, size=0)}", STREAM, 200)
        assert agent.ask(session, "Hello?") == AgentReply()


def test_a_plan_of_more_places_than_can_be_counted(sandbox: Sandbox, speech: Speech) -> None:
    headers = JSON | {"maximum-concurrent-requests": "9" * 5000}
    answers(sandbox, "elevenlabs transcribe", '{"text": "Hello."}', headers, 200)
    assert speech.transcribe(bytes(32_000)).text == "Hello."


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": claiming('{"exp": ' + "[" * 100_000)},
        {"access_token": claiming(f'{{"exp": 1{"0" * 400}, "iat": 0}}')},
        {"access_token": claiming('{"exp": NaN, "iat": 0}')},
        {"access_token": "x", "expires_in": 10**400},
        {"access_token": "x", "expires_in": "nan"},
    ],
    ids=["depth", "claim", "no claim", "seconds", "no seconds"],
)
def test_a_token_whose_lifetime_cannot_be_read(
    sandbox: Sandbox, settings: Settings, answer: dict[str, object]
) -> None:
    answers(sandbox, "agentforce token", json.dumps(answer), JSON, 200)
    session = requests_session(settings, width=1)
    token = AccessToken(session=session, settings=settings, metrics=Metrics())
    assert token.get() is token.get()
