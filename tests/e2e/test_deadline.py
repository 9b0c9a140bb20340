"""A provider that hangs or trickles: the user gets one line in time, and threads are freed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.faults import CallKind
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment

QUESTION = "How do I register an electronic invoice?"
ANSWER = "To register an electronic invoice"
AGENT = "Sorry, I couldn't get an answer."
LISTEN = "Sorry, I can't listen to voice notes right now."
DEADLINE = 1.5
# Far longer than any test waits.
FOR_EVER = 120.0
# Of a body of which every read brings something; slow enough never to end in time.
TRICKLE = 0.5


@pytest.fixture(scope="module")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    """A service with one thread, so that the next turn shows whether it was freed."""
    with start_deployment(
        TURN_DEADLINE=str(DEADLINE), TURN_THREADS="1", BREAKER_FAILURES="0", KEEP_WARM="false"
    ) as deployment:
        user = deployment.user()
        deployment.twilio.speak(user, deployment.note("hello"))
        deployment.twilio.wait_for_voice(user)
        yield deployment


@pytest.fixture
def deployment(shared_deployment: Deployment) -> Deployment:
    shared_deployment.begin()
    return shared_deployment


@pytest.mark.parametrize(
    ("service", "call", "kind", "told"),
    [
        ("agentforce", "ask", "hang", AGENT),
        ("agentforce", "ask", "trickle", AGENT),
        ("elevenlabs", "transcribe", "hang", LISTEN),
        ("elevenlabs", "transcribe", "trickle", LISTEN),
        ("agentforce", "session", "hang", AGENT),
        ("agentforce", "session", "trickle", AGENT),
    ],
)
def test_a_call_that_never_ends_is_reported_at_the_deadline(
    deployment: Deployment, service: str, call: str, kind: CallKind, told: str
) -> None:
    user, other = deployment.user(), deployment.user()
    seconds = FOR_EVER if kind == "hang" else TRICKLE
    deployment.add_fault(service, call, kind, seconds=seconds, times=None)
    started = time.monotonic()
    deployment.twilio.speak(user, deployment.note(QUESTION))
    assert deployment.answers(user, 1)[0].body.startswith(told)
    assert time.monotonic() - started < DEADLINE + 10
    assert len(deployment.calls("agentforce", "ask")) <= 1
    deployment.sandbox.faults.clear()
    deployment.twilio.say(other, "hello")
    assert deployment.answers(other, 1)[0].body.startswith("Hello!")
    assert len(deployment.twilio.messages(user)) == 1


def test_a_turn_does_not_wait_for_a_converter_beyond_its_deadline(
    start_deployment: StartDeployment, tmp_path: Path
) -> None:
    """The converter has a time limit of its own, which is longer."""
    converter = tmp_path / "ffmpeg"
    converter.write_text("#!/bin/sh\nexec sleep 30\n")
    converter.chmod(0o755)
    with start_deployment(
        TURN_DEADLINE=str(DEADLINE), KEEP_WARM="false", FFMPEG_PATH=str(converter)
    ) as deployment:
        user = deployment.user()
        deployment.twilio.speak(user, deployment.note(QUESTION))
        assert deployment.answers(user, 1, 15.0)[0].body.startswith(AGENT)
        deployment.expect_no_more(user, 1)


@pytest.mark.parametrize("kind", ["hang", "trickle"])
def test_speech_synthesis_that_never_ends_costs_only_the_voice_note(
    deployment: Deployment, kind: CallKind
) -> None:
    user = deployment.user()
    before = deployment.counter("voice_notes_failed")
    seconds = FOR_EVER if kind == "hang" else TRICKLE
    deployment.add_fault("elevenlabs", "speak", kind, seconds=seconds, times=None)
    deployment.twilio.speak(user, deployment.note(QUESTION))
    assert deployment.answers(user, 1)[0].body.startswith(ANSWER)
    deployment.expect_no_more(user, 1)
    assert deployment.counter("voice_notes_failed") == before + 1


@pytest.mark.slow
def test_a_voice_note_has_a_deadline_of_its_own(
    start_deployment: StartDeployment,
) -> None:
    """Answer and voice note each take more than half of the deadline."""
    with start_deployment(
        TURN_DEADLINE="10", VOICE_REPLIES="always", STILL_WORKING_AFTER="60"
    ) as deployment:
        user = deployment.user()
        deployment.add_fault("agentforce", "ask", "hang", seconds=6.0)
        deployment.add_fault("elevenlabs", "speak", "hang", seconds=6.0, times=None)
        deployment.twilio.say(user, "hello")
        deployment.twilio.wait_for_voice(user)
