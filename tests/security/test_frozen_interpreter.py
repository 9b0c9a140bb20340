"""A text on which the interpreter stands still ends the process, and is not tried for ever.

No such text is known any more, so the services that are tried here are given one.
"""

from __future__ import annotations

import pytest

from tests.e2e.conftest import PARROT, PATIENT, StartCluster, StartWorld
from tests.sandbox.waiting import wait_until
from tests.security.planted import planted

pytestmark = pytest.mark.slow

FREEZE = "freeze, please"
SORRY = "Sorry, something went wrong"

# An expression takes for ever where an answer is made ready, and a few seconds show that.
FROZEN = f"""
import re
from core import watchdog
from turns import pipeline as conversation

watchdog.FROZEN_SECONDS, watchdog.BEAT_SECONDS = 3.0, 0.5
intact = conversation.to_whatsapp

def freezing(markdown):
    if {FREEZE!r} in markdown:
        re.fullmatch("(a+)+b", "a" * 64)
    return intact(markdown)

conversation.to_whatsapp = freezing
"""


def test_a_web_process_ends_and_the_third_one_apologises(start_world: StartWorld) -> None:
    """Everybody else is answered meanwhile, or soon after."""
    with start_world(helpdesk_file=PARROT, command=planted(FROZEN), **PATIENT) as world:
        user, other = world.user(), world.user()
        world.twilio.say(user, FREEZE)
        assert world.answers(user, 1, timeout=60)[0].body.startswith(SORRY)
        assert world.log().count("Timeout (0:00:03)!") == 2
        assert world.log().count("in freezing") == 2
        world.twilio.say(other, "Are you there?")
        world.twilio.say(user, "And now?")
        assert world.answers(other, 1)[0].body == "You said Are you there?."
        assert world.answers(user, 2)[1].body == "You said And now?."


def test_so_does_a_worker(start_cluster: StartCluster) -> None:
    command = planted(FROZEN, "worker")
    with start_cluster(webs=1, workers=1, helpdesk_file=PARROT, worker_command=command) as (
        world,
        cluster,
    ):
        (worker,) = cluster.workers
        user = world.user()
        world.twilio.say(user, FREEZE)
        for _ in range(2):
            wait_until(worker.has_ended, "the worker to end", timeout=60)
            worker.start()
        assert world.answers(user, 1, timeout=60)[0].body.startswith(SORRY)
        assert worker.log().count("Timeout (0:00:03)!") == 2
        world.twilio.say(user, "And now?")
        assert world.answers(user, 2)[1].body == "You said And now?."
