"""A killed or restarted service answers every message that it has accepted, once and in order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import requests

from sandbox.faults import Fault
from tests.e2e.conftest import PATIENT, StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until
from tests.security.planted import planted
from turns.runner import MAX_ATTEMPTS

QUESTION = "How do I register an electronic invoice?"
ANSWER = "To register an electronic invoice"
# Longer than any test takes: what hangs is still hanging when the process dies.
FOR_EVER = 60.0


@pytest.fixture(scope="module")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    """A service that fetches the token and synthesises the answer in each turn."""
    with start_deployment(**PATIENT, KEEP_WARM="false", SPEECH_CACHE_BYTES="0") as deployment:
        yield deployment


@pytest.fixture
def deployment(shared_deployment: Deployment) -> Deployment:
    """The shared service, without the check of providers' rules: killed processes break some."""
    shared_deployment.begin()
    return shared_deployment


@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("agentforce", "token"),
        ("agentforce", "session"),
        ("twilio", "media"),
        ("elevenlabs", "transcribe"),
        ("agentforce", "ask"),
        ("twilio", "send"),
        ("elevenlabs", "speak"),
    ],
)
def test_a_process_killed_in_a_stage_answers_after_its_restart(
    deployment: Deployment, service: str, call: str
) -> None:
    """Once by text and once by voice, without another message."""
    if call == "token":
        deployment.sandbox.agentforce.forget_tokens()
    user = deployment.user()
    deployment.add_fault(service, call, "hang", seconds=FOR_EVER)
    deployment.twilio.speak(user, deployment.note(QUESTION))
    deployment.wait_for_call(service, call)
    restart(deployment)
    deployment.twilio.wait_for_voice(user, timeout=40)
    text, _voice = deployment.answers(user, 2)
    assert text.body.startswith(ANSWER)
    deployment.expect_no_more(user, 2)


def test_a_text_that_twilio_took_is_not_sent_again(deployment: Deployment) -> None:
    """The process dies before Twilio's answer to the text; Twilio lists the text."""
    user = deployment.user()
    deployment.add_fault("elevenlabs", "speak", "hang", seconds=FOR_EVER)
    deployment.twilio.speak(user, deployment.note(QUESTION))
    deployment.answers(user, 1)
    deployment.wait_for_call("elevenlabs", "speak")
    restart(deployment)
    deployment.twilio.wait_for_voice(user, timeout=40)
    texts = [message for message in deployment.twilio.messages(user) if not message.media_url]
    assert len(texts) == 1
    assert len(deployment.asked(user)) == 1


def test_messages_that_wait_keep_their_order_over_a_restart(
    deployment: Deployment,
) -> None:
    user = deployment.user()
    deployment.add_fault("agentforce", "ask", "hang", seconds=FOR_EVER)
    deployment.twilio.say(user, "hello")
    deployment.twilio.say(user, "What are the tax codes?")
    deployment.wait_for_call("agentforce", "ask")
    restart(deployment)
    deployment.twilio.say(user, "thanks")
    bodies = [message.body for message in deployment.answers(user, 3, timeout=40)]
    assert [body[:6] for body in bodies] == ["Hello!", "Most l", "You're"]


def test_a_message_repeated_after_a_restart_is_answered_once(
    deployment: Deployment,
) -> None:
    user = deployment.user()
    form = deployment.twilio.forms.text(user, "hello")
    deployment.twilio.deliver(form)
    deployment.answers(user, 1)
    restart(deployment)
    assert deployment.twilio.deliver(form).status == 200
    deployment.expect_no_more(user, 1)


def test_a_running_turn_is_finished_before_a_clean_stop(deployment: Deployment) -> None:
    """The message behind it is left for the next start."""
    user = deployment.user()
    deployment.add_fault("agentforce", "ask", "hang", seconds=1.0)
    deployment.twilio.say(user, "hello")
    deployment.twilio.say(user, "thanks")
    deployment.wait_for_call("agentforce", "ask")
    assert deployment.bridge.stop() == 0
    assert [message.body[:6] for message in deployment.twilio.messages(user)] == ["Hello!"]
    deployment.sandbox.agentforce.forget_tokens()
    deployment.bridge.start()
    assert deployment.answers(user, 2)[1].body.startswith("You're welcome")


def test_a_voice_note_survives_a_restart(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note("Thanks"))
    voice = deployment.twilio.wait_for_voice(user)
    restart(deployment)
    assert voice.media_url is not None
    assert requests.get(voice.media_url, timeout=10).content == voice.audio


def test_a_turn_that_kills_the_process_again_and_again_is_set_aside(
    deployment: Deployment,
) -> None:
    """Its sender is told, and the next message is answered."""
    user = deployment.user()
    hang = deployment.add_fault("agentforce", "ask", "hang", seconds=FOR_EVER, times=None)
    deployment.twilio.say(user, QUESTION)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        deployment.wait_for_call("agentforce", "ask")
        restart(deployment, *[hang] * (attempt < MAX_ATTEMPTS))
    assert deployment.answers(user, 1)[0].body.startswith("Sorry, something went wrong")
    assert "Turn abandoned" in deployment.log()
    deployment.expect_no_more(user, 1)


def restart(deployment: Deployment, *faults: Fault) -> None:
    """Kill the service and start it again on the same state, with ``faults`` in effect."""
    deployment.bridge.kill()
    deployment.sandbox.recorder.clear()
    deployment.sandbox.faults.clear()
    for fault in faults:
        deployment.sandbox.faults.add(fault)
    # The token and the locked session of the dead process are not used again.
    deployment.sandbox.agentforce.forget_tokens()
    deployment.sandbox.agentforce.forget_sessions()
    deployment.bridge.start()


# A stop that gives turns half a second, so that the agent takes longer.
SHORT_STOP = """
import services

intact = services.Services.close
services.Services.close = lambda self, timeout: intact(self, 0.5)
"""


@pytest.mark.slow
def test_a_question_that_every_stop_cuts_off_is_asked_twice_and_then_its_sender_is_told(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(command=planted(SHORT_STOP), **PATIENT) as deployment:
        user = deployment.user()
        deployment.add_fault("agentforce", "ask", "hang", seconds=FOR_EVER, times=None)
        deployment.twilio.say(user, "hello")
        for number in (1, 2):
            wait_until(partial(was_asked, deployment, user, number), "the question")
            assert deployment.bridge.stop() == 0
            # What is locked by the former question would be waited for.
            deployment.sandbox.agentforce.forget_sessions()
            deployment.bridge.start()
        assert deployment.answers(user, 1, timeout=40)[0].body.startswith("Sorry")
        assert was_asked(deployment, user, 2)


def was_asked(deployment: Deployment, user: str, times: int) -> bool:
    return len(deployment.asked(user)) == times
