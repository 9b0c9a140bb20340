"""What a killed or restarted service owes to those who wrote to it."""

from __future__ import annotations

from functools import partial

import pytest
import requests

from sandbox.faults import Fault
from tests.e2e.conftest import PATIENT, StartWorld
from tests.e2e.world import World
from tests.sandbox.waiting import wait_until
from tests.security.planted import planted
from turns.runner import ATTEMPTS

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
    start_world: StartWorld, service: str, call: str
) -> None:
    """Once by text and once by voice, with nobody writing again.

    The turn fetches the token itself.
    """
    with start_world(**PATIENT, KEEP_WARM="false") as world:
        user = world.user()
        world.sandbox.faults.add(Fault(service, call, "hang", seconds=FOR_EVER))
        world.twilio.speak(user, world.note(QUESTION))
        world.sandbox.ledger.wait_for(lambda: world.sandbox.ledger.calls(service, call))
        restart(world)
        world.twilio.wait_for_voice(user, timeout=40)
        text, _voice = world.answers(user, 2)
        assert text.body.startswith(ANSWER)
        world.expect_no_more(user, 2)


def test_a_text_that_twilio_took_is_not_sent_again(start_world: StartWorld) -> None:
    """The process dies before it hears that its text was taken; Twilio lists it."""
    with start_world(**PATIENT) as world:
        user = world.user()
        world.sandbox.faults.add(Fault("elevenlabs", "speak", "hang", seconds=FOR_EVER))
        world.twilio.speak(user, world.note(QUESTION))
        world.answers(user, 1)
        world.sandbox.ledger.wait_for(lambda: world.sandbox.ledger.calls("elevenlabs", "speak"))
        restart(world)
        world.twilio.wait_for_voice(user, timeout=40)
        texts = [message for message in world.twilio.messages(user) if not message.media_url]
        assert len(texts) == 1
        assert len(world.asked(user)) == 1


def test_messages_that_wait_keep_their_order_over_a_restart(start_world: StartWorld) -> None:
    with start_world(**PATIENT) as world:
        user = world.user()
        world.sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=FOR_EVER))
        world.twilio.say(user, "hello")
        world.twilio.say(user, "What are the tax codes?")
        wait_for_question(world)
        restart(world)
        world.twilio.say(user, "thanks")
        bodies = [message.body for message in world.answers(user, 3, timeout=40)]
        assert [body[:6] for body in bodies] == ["Hello!", "Most l", "You're"]


def test_a_message_repeated_after_a_restart_is_answered_once(start_world: StartWorld) -> None:
    with start_world(**PATIENT) as world:
        user = world.user()
        form = world.twilio.forms.text(user, "hello")
        world.twilio.deliver(form)
        world.answers(user, 1)
        restart(world)
        assert world.twilio.deliver(form).status == 200
        world.expect_no_more(user, 1)


def test_a_running_turn_is_finished_before_a_clean_stop(start_world: StartWorld) -> None:
    """What waits behind it is left for the next start."""
    with start_world(**PATIENT) as world:
        user = world.user()
        world.sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=1.0))
        world.twilio.say(user, "hello")
        world.twilio.say(user, "thanks")
        wait_for_question(world)
        assert world.bridge.stop() == 0
        assert [message.body[:6] for message in world.twilio.messages(user)] == ["Hello!"]
        world.sandbox.agentforce.forget_tokens()
        world.bridge.start()
        assert world.answers(user, 2)[1].body.startswith("You're welcome")


def test_a_voice_note_survives_a_restart(start_world: StartWorld) -> None:
    with start_world(**PATIENT) as world:
        user = world.user()
        world.twilio.speak(user, world.note("Thanks"))
        voice = world.twilio.wait_for_voice(user)
        restart(world)
        assert voice.media_url is not None
        assert requests.get(voice.media_url, timeout=10).content == voice.audio


def test_a_turn_that_kills_the_process_again_and_again_is_set_aside(
    start_world: StartWorld,
) -> None:
    """Its sender is told, and the next message is answered."""
    with start_world(**PATIENT) as world:
        user = world.user()
        hang = Fault("agentforce", "ask", "hang", seconds=FOR_EVER, times=None)
        world.sandbox.faults.add(hang)
        world.twilio.say(user, QUESTION)
        for attempt in range(1, ATTEMPTS + 1):
            wait_for_question(world)
            restart(world, *[hang] * (attempt < ATTEMPTS))
        assert world.answers(user, 1)[0].body.startswith("Sorry, something went wrong")
        assert "Turn set aside" in world.log()
        world.expect_no_more(user, 1)


def wait_for_question(world: World) -> None:
    """Return once the agent has been asked since the last restart."""
    ledger = world.sandbox.ledger
    ledger.wait_for(lambda: ledger.calls("agentforce", "ask"))


def restart(world: World, *faults: Fault) -> None:
    """Kill the service without a word, and start it again on the same state, into ``faults``."""
    world.bridge.kill()
    world.sandbox.ledger.clear()
    world.sandbox.faults.clear()
    for fault in faults:
        world.sandbox.faults.add(fault)
    # What the dead process asked for is nobody's any more: its token, and its locked session.
    world.sandbox.agentforce.forget_tokens()
    world.sandbox.agentforce.forget_sessions()
    world.bridge.start()


# A stop as one that an agent outlasts, in less time.
SHORT_STOP = """
from services import processes as parts

intact = parts.WebServices.close
parts.WebServices.close = lambda self, timeout: intact(self, 0.5)
"""


def test_a_question_that_every_stop_cuts_off_is_asked_twice_and_then_its_sender_is_told(
    start_world: StartWorld,
) -> None:
    with start_world(command=planted(SHORT_STOP), **PATIENT) as world:
        user = world.user()
        world.sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=FOR_EVER, times=None))
        world.twilio.say(user, "hello")
        for number in (1, 2):
            wait_until(partial(was_asked, world, user, number), "the question")
            assert world.bridge.stop() == 0
            # What is locked by the former question would be waited for.
            world.sandbox.agentforce.forget_sessions()
            world.bridge.start()
        assert world.answers(user, 1, timeout=40)[0].body.startswith("Sorry")
        assert was_asked(world, user, 2)


def was_asked(world: World, user: str, times: int) -> bool:
    return len(world.asked(user)) == times
