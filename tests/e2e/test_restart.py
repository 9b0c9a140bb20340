"""What a killed or restarted service owes to those who wrote to it."""

from __future__ import annotations

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
    start_deployment: StartDeployment, service: str, call: str
) -> None:
    """Once by text and once by voice, with nobody writing again.

    The turn fetches the token itself.
    """
    with start_deployment(**PATIENT, KEEP_WARM="false") as deployment:
        user = deployment.user()
        deployment.sandbox.faults.add(Fault(service, call, "hang", seconds=FOR_EVER))
        deployment.twilio.speak(user, deployment.note(QUESTION))
        deployment.sandbox.recorder.wait_for(
            lambda: deployment.sandbox.recorder.calls(service, call)
        )
        restart(deployment)
        deployment.twilio.wait_for_voice(user, timeout=40)
        text, _voice = deployment.answers(user, 2)
        assert text.body.startswith(ANSWER)
        deployment.expect_no_more(user, 2)


def test_a_text_that_twilio_took_is_not_sent_again(start_deployment: StartDeployment) -> None:
    """The process dies before it hears that its text was taken; Twilio lists it."""
    with start_deployment(**PATIENT) as deployment:
        user = deployment.user()
        deployment.sandbox.faults.add(Fault("elevenlabs", "speak", "hang", seconds=FOR_EVER))
        deployment.twilio.speak(user, deployment.note(QUESTION))
        deployment.answers(user, 1)
        deployment.sandbox.recorder.wait_for(
            lambda: deployment.sandbox.recorder.calls("elevenlabs", "speak")
        )
        restart(deployment)
        deployment.twilio.wait_for_voice(user, timeout=40)
        texts = [message for message in deployment.twilio.messages(user) if not message.media_url]
        assert len(texts) == 1
        assert len(deployment.asked(user)) == 1


def test_messages_that_wait_keep_their_order_over_a_restart(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(**PATIENT) as deployment:
        user = deployment.user()
        deployment.sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=FOR_EVER))
        deployment.twilio.say(user, "hello")
        deployment.twilio.say(user, "What are the tax codes?")
        wait_for_question(deployment)
        restart(deployment)
        deployment.twilio.say(user, "thanks")
        bodies = [message.body for message in deployment.answers(user, 3, timeout=40)]
        assert [body[:6] for body in bodies] == ["Hello!", "Most l", "You're"]


def test_a_message_repeated_after_a_restart_is_answered_once(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(**PATIENT) as deployment:
        user = deployment.user()
        form = deployment.twilio.forms.text(user, "hello")
        deployment.twilio.deliver(form)
        deployment.answers(user, 1)
        restart(deployment)
        assert deployment.twilio.deliver(form).status == 200
        deployment.expect_no_more(user, 1)


def test_a_running_turn_is_finished_before_a_clean_stop(start_deployment: StartDeployment) -> None:
    """What waits behind it is left for the next start."""
    with start_deployment(**PATIENT) as deployment:
        user = deployment.user()
        deployment.sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=1.0))
        deployment.twilio.say(user, "hello")
        deployment.twilio.say(user, "thanks")
        wait_for_question(deployment)
        assert deployment.bridge.stop() == 0
        assert [message.body[:6] for message in deployment.twilio.messages(user)] == ["Hello!"]
        deployment.sandbox.agentforce.forget_tokens()
        deployment.bridge.start()
        assert deployment.answers(user, 2)[1].body.startswith("You're welcome")


def test_a_voice_note_survives_a_restart(start_deployment: StartDeployment) -> None:
    with start_deployment(**PATIENT) as deployment:
        user = deployment.user()
        deployment.twilio.speak(user, deployment.note("Thanks"))
        voice = deployment.twilio.wait_for_voice(user)
        restart(deployment)
        assert voice.media_url is not None
        assert requests.get(voice.media_url, timeout=10).content == voice.audio


def test_a_turn_that_kills_the_process_again_and_again_is_set_aside(
    start_deployment: StartDeployment,
) -> None:
    """Its sender is told, and the next message is answered."""
    with start_deployment(**PATIENT) as deployment:
        user = deployment.user()
        hang = Fault("agentforce", "ask", "hang", seconds=FOR_EVER, times=None)
        deployment.sandbox.faults.add(hang)
        deployment.twilio.say(user, QUESTION)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            wait_for_question(deployment)
            restart(deployment, *[hang] * (attempt < MAX_ATTEMPTS))
        assert deployment.answers(user, 1)[0].body.startswith("Sorry, something went wrong")
        assert "Turn set aside" in deployment.log()
        deployment.expect_no_more(user, 1)


def wait_for_question(deployment: Deployment) -> None:
    """Return once the agent has been asked since the last restart."""
    recorder = deployment.sandbox.recorder
    recorder.wait_for(lambda: recorder.calls("agentforce", "ask"))


def restart(deployment: Deployment, *faults: Fault) -> None:
    """Kill the service without a word, and start it again on the same state, into ``faults``."""
    deployment.bridge.kill()
    deployment.sandbox.recorder.clear()
    deployment.sandbox.faults.clear()
    for fault in faults:
        deployment.sandbox.faults.add(fault)
    # What the dead process asked for is nobody's any more: its token, and its locked session.
    deployment.sandbox.agentforce.forget_tokens()
    deployment.sandbox.agentforce.forget_sessions()
    deployment.bridge.start()


# A stop as one that an agent outlasts, in less time.
SHORT_STOP = """
import services

intact = services.Services.close
services.Services.close = lambda self, timeout: intact(self, 0.5)
"""


def test_a_question_that_every_stop_cuts_off_is_asked_twice_and_then_its_sender_is_told(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(command=planted(SHORT_STOP), **PATIENT) as deployment:
        user = deployment.user()
        deployment.sandbox.faults.add(
            Fault("agentforce", "ask", "hang", seconds=FOR_EVER, times=None)
        )
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
