"""What the agent wrote arrives unaltered, in the messages for Twilio and in the spoken text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import ECHO_AGENT, StartDeployment
from tests.e2e.deployment import Deployment
from text.splitting import MESSAGE_LIMIT

# What the agent quotes, what of it is shown, and what is spoken.
ANSWERS = [
    ("m***a@g***l.com", "m***a@g***l.com", "m***a@g***l dot com"),
    ("10^6, age < 18 or > 65", "10^6, age < 18 or > 65", "10 to the power of 6"),
    ("this:\n\n1024. Router\n1031. Invoice", "1024. Router\n1031. Invoice", "1031. Invoice"),
    ("this:\n\n+ 500 SAR\n- 120 SAR", "+ 500 SAR\n- 120 SAR", "minus 120"),
    ("**السعر:**١٠٠ ريال", "*السعر:*١٠٠ ريال", "السعر:١٠٠ ريال"),
    (
        "请打开https://example.com/help，然后提交。谢谢",
        "请打开https://example.com/help，然后提交。谢谢",
        "然后提交。",
    ),
    ("**https://example.com/pay?id=7** now", "said https://example.com/pay?id=7 now", "said now"),
    (
        '<a href="https://example.com/?a=1&amp;b=2">Form</a>',
        "(https://example.com/?a=1&b=2)",
        "Form",
    ),
]


@pytest.fixture(scope="module")
def deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    """Its agent quotes what it is told, and every answer is spoken."""
    with start_deployment(
        helpdesk_file=ECHO_AGENT, SPEECH_CACHE_BYTES="0", VOICE_REPLIES="always"
    ) as deployment:
        yield deployment


@pytest.mark.parametrize(("written", "shown", "spoken"), ANSWERS)
def test_words_numbers_signs_and_addresses_arrive(
    deployment: Deployment, written: str, shown: str, spoken: str
) -> None:
    deployment.begin()
    user = deployment.user()
    deployment.twilio.say(user, written)
    (answer,) = deployment.answers(user, 1)
    assert shown in answer.body
    assert deployment.twilio.wait_for_voice(user).audio
    assert spoken in " ".join(piece.text for piece in deployment.synthesised())


def test_a_long_program_arrives_in_fences_of_their_own(deployment: Deployment) -> None:
    user = deployment.user()
    program = [f"line_{number} = __init__(*args)" for number in range(120)]
    lines = "\n".join(program)
    deployment.twilio.say(user, f"this:\n\n```\n{lines}\n```\n\nend")
    parts = [answer.body for answer in deployment.answers(user, 3)]
    assert all(part.count("```") % 2 == 0 and len(part) <= MESSAGE_LIMIT for part in parts)
    shown = [line for part in parts for line in part.split("\n") if line.startswith("line_")]
    assert shown == program
