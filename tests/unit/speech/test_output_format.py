"""In which format speech is asked for, by what ElevenLabs says of the plan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import imageio_ffmpeg
import pytest
from structlog.testing import capture_logs

from audio import formats as container
from audio.ffmpeg import Ffmpeg
from core.errors import NothingHeard, SpeechBusy, SpeechRefused
from core.settings import Settings
from http_clients.circuit_breakers import CircuitBreakers
from metrics import Metrics
from sandbox import Sandbox
from sandbox.faults import Fault
from sandbox.speech.fixture import FixtureSpeech
from speech import endpoint, voice
from speech.elevenlabs import Speech
from speech.voice import MP3, OPUS, OPUS_PAUSE_SECONDS

REFUSED = "refused"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def started() -> Iterator[Sandbox]:
    with Sandbox(speech=FixtureSpeech()) as sandbox:
        yield sandbox


@pytest.fixture
def provider(started: Sandbox) -> Iterator[Sandbox]:
    started.faults.clear()
    started.recorder.clear()
    started.elevenlabs.syntheses.clear()
    yield started
    started.elevenlabs.account.plan = "creator"
    assert not started.recorder.violations


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(voice, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def speech(provider: Sandbox, clock: Clock) -> Speech:
    return Speech(
        settings=Settings(**provider.environment("http://127.0.0.1:9")),  # type: ignore[arg-type]
        ffmpeg=Ffmpeg(path=imageio_ffmpeg.get_ffmpeg_exe(), max_seconds=60),
        metrics=Metrics(),
        breakers=CircuitBreakers(failures=0, seconds=30, metrics=Metrics()),
        connections=4,
    )


def say(speech: Speech) -> None:
    assert container.detect_format(speech.synthesize("Hello!", "en")) == container.OPUS


def answers(provider: Sandbox) -> list[str]:
    """The formats that were spoken, and what was refused, in order, since this was last asked."""
    calls = provider.recorder.calls("elevenlabs", "speak")
    provider.recorder.clear()
    return [
        str(call.detail["query"]["output_format"]) if call.status == 200 else REFUSED
        for call in calls
    ]


def refusal(status: int, detail: Any, *, call: str = "speak") -> Fault:
    return Fault("elevenlabs", call, status=status, body=json.dumps({"detail": detail}))


ABOUT_FORMAT = {
    "plan": (
        403,
        {
            "type": "authorization_error",
            "code": "subscription_required",
            "status": "output_format_not_allowed",
            "message": "",
        },
    ),
    "parameter": (
        403,
        {
            "type": "authorization_error",
            "code": "subscription_required",
            "status": "subscription_required",
            "param": "output_format",
        },
    ),
    "payment": (402, {"code": "paid_plan_required", "param": "output_format"}),
    "legacy": (403, {"status": "output_format_not_allowed", "message": ""}),
    "format unknown there": (400, {"type": "validation_error", "code": "invalid_output_format"}),
    "schema": (422, [{"type": "enum", "loc": ["query", "output_format"], "msg": "", "input": ""}]),
}
ABOUT_ANOTHER_THING = {
    "model": (
        403,
        {
            "type": "authorization_error",
            "code": "subscription_required",
            "status": "only_for_creator+",
            "param": "model_id",
        },
        "only_for_creator+ model_id",
    ),
    "voice": (
        403,
        {"code": "subscription_required", "status": "voice_access_denied", "param": "voice_id"},
        "voice_access_denied voice_id",
    ),
    "language": (
        403,
        {"code": "subscription_required", "param": "language_code"},
        "subscription_required language_code",
    ),
    "nothing named": (
        403,
        {"type": "authorization_error", "code": "subscription_required"},
        "authorization_error subscription_required",
    ),
    "legacy": (403, {"status": "only_for_creator+", "message": ""}, "only_for_creator+"),
    "payment": (402, {"code": "paid_plan_required", "param": "voice_id"}, "paid_plan_required"),
    "schema": (422, [{"type": "missing", "loc": ["body", "text"]}], "missing body text"),
}


@pytest.mark.parametrize(("status", "detail"), ABOUT_FORMAT.values(), ids=ABOUT_FORMAT.keys())
def test_a_refusal_of_the_format_leads_to_mp3(
    provider: Sandbox, speech: Speech, status: int, detail: Any
) -> None:
    provider.faults.add(refusal(status, detail))
    with capture_logs() as lines:
        say(speech)
        say(speech)
    assert answers(provider) == [REFUSED, MP3, MP3]
    assert [line["event"].partition(";")[0] for line in lines] == [
        "The ElevenLabs plan has no Opus"
    ]


@pytest.mark.parametrize(
    ("status", "detail", "told"), ABOUT_ANOTHER_THING.values(), ids=ABOUT_ANOTHER_THING.keys()
)
def test_a_refusal_of_another_thing_is_told_and_changes_no_format(
    provider: Sandbox, speech: Speech, status: int, detail: Any, told: str
) -> None:
    provider.faults.add(refusal(status, detail))
    with pytest.raises(SpeechRefused) as caught:
        speech.synthesize("Hello!", "en")
    assert f"HTTP {status} " in str(caught.value)
    assert told in str(caught.value)
    say(speech)
    assert answers(provider) == [REFUSED, OPUS]


def test_a_limit_is_no_refusal_of_the_format(
    provider: Sandbox, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "RETRY_DELAYS", ())
    monkeypatch.setattr(SpeechBusy, "retry_seconds", 0.0)
    provider.faults.add(refusal(429, {"code": "rate_limit_exceeded", "param": "output_format"}))
    with pytest.raises(SpeechBusy):
        speech.synthesize("Hello!", "en")
    say(speech)
    assert answers(provider) == [REFUSED, OPUS]


def test_a_refusal_to_transcribe_says_nothing_of_speaking(
    provider: Sandbox, speech: Speech
) -> None:
    detail = {"code": "subscription_required", "param": "model_id"}
    provider.faults.add(refusal(403, detail, call="transcribe"))
    with pytest.raises(SpeechRefused, match="subscription_required model_id"):
        speech.transcribe(bytes(32_000))
    with pytest.raises(NothingHeard):
        speech.transcribe(bytes(32_000))
    say(speech)
    assert answers(provider) == [OPUS]


def test_a_larger_plan_is_found_out_within_the_hour(
    provider: Sandbox, speech: Speech, clock: Clock
) -> None:
    account = provider.elevenlabs.account
    account.plan = "free"
    say(speech)
    assert answers(provider) == [REFUSED, MP3]
    manner = speech.synthesis_key("Hello!", "en")
    account.plan = "creator"
    clock.now += OPUS_PAUSE_SECONDS - 1
    say(speech)
    assert answers(provider) == [MP3]
    clock.now += 1
    say(speech)
    say(speech)
    assert answers(provider) == [OPUS, OPUS]
    assert speech.synthesis_key("Hello!", "en") != manner


def test_a_plan_that_stays_is_asked_once_an_hour_and_logged_once(
    provider: Sandbox, speech: Speech, clock: Clock
) -> None:
    provider.elevenlabs.account.plan = "free"
    say(speech)
    answers(provider)
    with capture_logs() as lines:
        for _ in range(2):
            clock.now += OPUS_PAUSE_SECONDS
            say(speech)
            say(speech)
            assert answers(provider) == [REFUSED, MP3, MP3]
    assert lines == []
