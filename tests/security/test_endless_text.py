"""One text must not stop the service: each of these took seconds, or for ever, to be read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import ECHO_AGENT, StartDeployment
from tests.e2e.deployment import Deployment

# As much as WhatsApp lets anybody write.
LONGEST = 4096

TYPED = {
    "a domain that never ends": "Is this a real domain: " + "xn--a." * 30 + "xn-- ?",
    "brackets": "![[x](" * (LONGEST // 6),
    "stars": "a*" * (LONGEST // 2),
    "HTML that never ends": "<!--" * (LONGEST // 4),
    "signs above and below a letter": "a" + "\u0315\u0300" * (LONGEST // 2),
    "quotation marks": ")" * LONGEST,
}
SPOKEN = {
    "sounds and words": "(laughs) " * 40 + "and some words",
    "line breaks": "First." + "\n" * 4000 + "Last",
}


@pytest.fixture(scope="module")
def deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    """Its agent quotes what it is told."""
    with start_deployment(helpdesk_file=ECHO_AGENT, SPEECH_CACHE_BYTES="0") as deployment:
        yield deployment


def check_others_are_served(deployment: Deployment) -> None:
    """In the 15 s that Twilio waits, and before the service gives up on itself."""
    other = deployment.user()
    deployment.twilio.say(other, "Hello?")
    assert deployment.answers(other, 1, timeout=20)[0].body == "You said Hello?."


@pytest.mark.parametrize("text", TYPED.values(), ids=TYPED.keys())
def test_a_text_is_answered_and_so_is_everybody_else(deployment: Deployment, text: str) -> None:
    user = deployment.user()
    deployment.twilio.say(user, text)
    check_others_are_served(deployment)
    assert deployment.answers(user, 1)[0].body.startswith("You said")


@pytest.mark.parametrize("said", SPOKEN.values(), ids=SPOKEN.keys())
def test_so_is_a_voice_note(deployment: Deployment, said: str) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(said))
    check_others_are_served(deployment)
    assert deployment.answers(user, 1)[0].body.startswith("You said")
    assert deployment.twilio.wait_for_voice(user).audio


def test_nothing_had_to_be_ended(deployment: Deployment) -> None:
    assert "Timeout" not in deployment.log()
