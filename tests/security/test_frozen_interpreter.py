"""A text on which the interpreter stands still ends the process, and is not tried for ever.

No such text is known any more, so the services of this test freeze on a planted one.
"""

from __future__ import annotations

import pytest

from tests.e2e.conftest import ECHO_AGENT, PATIENT, StartCluster, StartDeployment
from tests.sandbox.waiting import wait_until
from tests.security.planted import planted

pytestmark = pytest.mark.slow

FREEZE = "freeze, please"
SORRY = "Sorry, something went wrong"

# A regular expression never ends on such an answer; the watchdog notices after 3 s.
FROZEN = f"""
import re
from core import watchdog
from turns import answers

watchdog.FROZEN_SECONDS, watchdog.BEAT_SECONDS = 3.0, 0.5
intact = answers.to_whatsapp

def freezing(markdown):
    if {FREEZE!r} in markdown:
        re.fullmatch("(a+)+b", "a" * 64)
    return intact(markdown)

answers.to_whatsapp = freezing
"""


def test_a_web_process_ends_and_the_third_one_apologises(start_deployment: StartDeployment) -> None:
    """Other senders are answered meanwhile or soon after."""
    with start_deployment(
        helpdesk_file=ECHO_AGENT, command=planted(FROZEN), **PATIENT
    ) as deployment:
        user, other = deployment.user(), deployment.user()
        deployment.twilio.say(user, FREEZE)
        assert deployment.answers(user, 1, timeout=60)[0].body.startswith(SORRY)
        assert deployment.log().count("Timeout (0:00:03)!") == 2
        assert deployment.log().count("in freezing") == 2
        deployment.twilio.say(other, "Are you there?")
        deployment.twilio.say(user, "And now?")
        assert deployment.answers(other, 1)[0].body == "You said Are you there?."
        assert deployment.answers(user, 2)[1].body == "You said And now?."


def test_a_worker_ends_and_the_third_one_apologises(start_cluster: StartCluster) -> None:
    command = planted(FROZEN, "worker")
    with start_cluster(webs=1, workers=1, helpdesk_file=ECHO_AGENT, worker_command=command) as (
        deployment,
        cluster,
    ):
        (worker,) = cluster.workers
        user = deployment.user()
        deployment.twilio.say(user, FREEZE)
        for _ in range(2):
            wait_until(worker.has_ended, "the worker to end", timeout=60)
            worker.start()
        assert deployment.answers(user, 1, timeout=60)[0].body.startswith(SORRY)
        assert worker.log().count("Timeout (0:00:03)!") == 2
        assert deployment.ask("And now?", user).body == "You said And now?."
