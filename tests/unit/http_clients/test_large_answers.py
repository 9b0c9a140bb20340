"""A response that is far too large, or JSON that Python cannot read, is a provider's error."""

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
from speech.elevenlabs import MAX_RESPONSE_BYTES, Speech
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
def reset_sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also skips the waits between tries."""
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
    return WhatsApp(settings=settings, metrics=Metrics(), connections=1, typing_connections=1)


@pytest.fixture
def speech(settings: Settings) -> Speech:
    return Speech(
        settings=settings,
        ffmpeg=Ffmpeg(path=imageio_ffmpeg.get_ffmpeg_exe(), max_seconds=60),
        metrics=Metrics(),
        breakers=CircuitBreakers(failures=0, seconds=30, metrics=Metrics()),
        connections=1,
    )


def answer_with(
    sandbox: Sandbox, call: str, body: str, headers: dict[str, str], status: int
) -> None:
    """Let the stand-in always answer ``call``, such as "twilio send", like this."""
    service, name = call.split()
    sandbox.faults.add(Fault(service, name, status=status, body=body, headers=headers, times=None))


def padded(answer: object, limit: int) -> str:
    """The answer as JSON, with more spaces behind it than ``limit`` allows."""
    return json.dumps(answer) + " " * limit


def events(messages: int, *, size: int) -> str:
    """So many events of at least ``size`` bytes, and the end of the turn."""
    message = {"type": "ProgressIndicator", "message": "x" * size}
    each = f"data: {json.dumps({'message': message})}\n\n"
    return each * messages + f"data: {json.dumps({'message': END})}\n\n"


def unsigned_jwt(claims: str) -> str:
    """A token with these claims, in JSON, and without a signature."""
    parts = ('{"alg": "none"}', claims)
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode() for part in parts) + "."


def test_a_large_token_response(sandbox: Sandbox, agent: Agentforce) -> None:
    answer_with(
        sandbox, "agentforce token", padded({"access_token": "x"}, JSON_LIMIT_BYTES), JSON, 200
    )
    with pytest.raises(AgentUnavailable, match="BodyTooLarge"):
        agent.start(retry=False)


def test_a_large_session_response(sandbox: Sandbox, agent: Agentforce) -> None:
    answer_with(
        sandbox, "agentforce session", padded({"sessionId": "x"}, JSON_LIMIT_BYTES), JSON, 200
    )
    with pytest.raises(AgentUnavailable):
        agent.start(retry=False)


def test_a_large_refusal_is_judged_by_its_status(sandbox: Sandbox, agent: Agentforce) -> None:
    answer_with(sandbox, "agentforce session", padded({"error": "x"}, JSON_LIMIT_BYTES), JSON, 403)
    with pytest.raises(AgentMisconfigured, match="403"):
        agent.start(retry=False)


def test_a_large_whole_answer(sandbox: Sandbox, settings: Settings) -> None:
    agent = agent_of(settings.model_copy(update={"AGENTFORCE_STREAMING": False}))
    session = agent.start()
    answer_with(sandbox, "agentforce ask", padded({"messages": []}, JSON_LIMIT_BYTES), JSON, 200)
    with pytest.raises(AgentDown):
        agent.ask(session, "Hello?")


@pytest.mark.parametrize(
    "body",
    [events(STREAM_LIMIT_BYTES // 60, size=1), events(1, size=STREAM_LIMIT_BYTES)],
    ids=["many events", "one event"],
)
def test_a_large_streamed_answer(sandbox: Sandbox, agent: Agentforce, body: str) -> None:
    assert len(body) > STREAM_LIMIT_BYTES
    session = agent.start()
    answer_with(sandbox, "agentforce ask", body, STREAM, 200)
    with pytest.raises(AgentDown, match="BodyTooLarge"):
        agent.ask(session, "Hello?")


def test_a_long_streamed_answer_is_not_too_large(sandbox: Sandbox, agent: Agentforce) -> None:
    """Ten thousand words, each in an event with its envelope."""
    session = agent.start()
    answer_with(sandbox, "agentforce ask", events(10_000, size=350), STREAM, 200)
    assert agent.ask(session, "Hello?") == AgentReply()


def test_a_large_response_to_sending(sandbox: Sandbox, whatsapp: WhatsApp) -> None:
    answer_with(sandbox, "twilio send", padded({"sid": "SM1"}, JSON_LIMIT_BYTES), JSON, 201)
    with pytest.raises(SendUncertain):
        whatsapp.send_text(USER, "Hello!", callback="c")


def test_a_large_transcript(sandbox: Sandbox, speech: Speech) -> None:
    answer_with(
        sandbox, "elevenlabs transcribe", padded({"text": "x"}, MAX_RESPONSE_BYTES), JSON, 200
    )
    with pytest.raises(SpeechUnavailable):
        speech.transcribe(bytes(32_000))


def test_large_audio(sandbox: Sandbox, speech: Speech) -> None:
    ogg = {"Content-Type": "audio/ogg"}
    answer_with(sandbox, "elevenlabs speak", "OggS" * (MAX_RESPONSE_BYTES // 4 + 1), ogg, 200)
    with pytest.raises(SpeechUnavailable, match="RemoteProtocolError"):
        speech.synthesize("Hello!", "en")


# JSON within the limit of size, with more digits or deeper nesting than Python reads.
DIGITS = f'{{"text": {"1" * 5000}}}'
DEPTH = '{"text": ' + "[" * 100_000


@pytest.mark.parametrize("body", [DIGITS, DEPTH], ids=["digits", "depth"])
class TestUnreadable:
    def test_a_response_to_sending(self, sandbox: Sandbox, whatsapp: WhatsApp, body: str) -> None:
        answer_with(sandbox, "twilio send", body, JSON, 201)
        with pytest.raises(SendUncertain):
            whatsapp.send_text(USER, "Hello!", callback="c")

    def test_a_response_to_the_typing_indicator(
        self, sandbox: Sandbox, whatsapp: WhatsApp, body: str
    ) -> None:
        answer_with(sandbox, "twilio typing", body, JSON, 200)
        whatsapp.show_typing(f"SM{'0' * 32}")

    def test_a_transcript(self, sandbox: Sandbox, speech: Speech, body: str) -> None:
        answer_with(sandbox, "elevenlabs transcribe", body, JSON, 200)
        with pytest.raises(SpeechUnavailable):
            speech.transcribe(bytes(32_000))

    def test_a_refusal_to_synthesize(self, sandbox: Sandbox, speech: Speech, body: str) -> None:
        answer_with(sandbox, "elevenlabs speak", body, JSON, 401)
        with pytest.raises((SpeechRefused, SpeechUnavailable)):
            speech.synthesize("Hello!", "en")

    def test_a_streamed_answer(self, sandbox: Sandbox, agent: Agentforce, body: str) -> None:
        session = agent.start()
        answer_with(sandbox, "agentforce ask", f"data: {body}\n\n{events(0, size=0)}", STREAM, 200)
        assert agent.ask(session, "Hello?") == AgentReply()


def test_an_absurd_concurrency_of_the_plan_is_ignored(sandbox: Sandbox, speech: Speech) -> None:
    headers = JSON | {"maximum-concurrent-requests": "9" * 5000}
    answer_with(sandbox, "elevenlabs transcribe", '{"text": "Hello."}', headers, 200)
    assert speech.transcribe(bytes(32_000)).text == "Hello."


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": unsigned_jwt('{"exp": ' + "[" * 100_000)},
        {"access_token": unsigned_jwt(f'{{"exp": 1{"0" * 400}, "iat": 0}}')},
        {"access_token": unsigned_jwt('{"exp": NaN, "iat": 0}')},
        {"access_token": "x", "expires_in": 10**400},
        {"access_token": "x", "expires_in": "nan"},
    ],
    ids=["depth", "claim", "no claim", "seconds", "no seconds"],
)
def test_a_token_with_an_unreadable_lifetime_is_used(
    sandbox: Sandbox, settings: Settings, answer: dict[str, object]
) -> None:
    answer_with(sandbox, "agentforce token", json.dumps(answer), JSON, 200)
    session = requests_session(settings, connections=1)
    token = AccessToken(session=session, settings=settings, metrics=Metrics())
    assert token.get() is token.get()
