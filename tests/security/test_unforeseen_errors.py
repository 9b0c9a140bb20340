"""Whatever goes wrong in a turn, of whatever class, its sender hears of it and nobody else does."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import StartDeployment
from tests.security.planted import planted

# In what is done for the answer, beside it, to send it, and in the webhook behind the writing down.
PLACES = {
    "conversation": "turns.questions.QuestionReader.read",
    "delivery": "whatsapp.delivery.Delivery.send_text",
    "prewarmer": "turns.prewarming.Prewarmer.schedule",
}
ERRORS = ('RuntimeError("can\'t start new thread")', "MemoryError()", "OSError(24, 'files')")

PLANTED = """
import importlib
module, of, name = {place!r}.rsplit(".", 2)
owner = getattr(importlib.import_module(module), of)
intact = getattr(owner, name)
left = [{error}]

def failing(*arguments, **options):
    if left:
        raise left.pop()
    return intact(*arguments, **options)

setattr(owner, name, failing)
"""


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_the_sender_is_told_and_the_next_message_is_answered(
    start_deployment: StartDeployment, place: str, error: str
) -> None:
    with start_deployment(command=planted(PLANTED.format(place=place, error=error))) as deployment:
        user = deployment.user()
        assert deployment.twilio.say(user, "hello").status == 200
        (answer,) = deployment.answers(user, 1)
        if "Prewarmer" not in place:
            assert answer.body.startswith("Sorry, something went wrong")
            assert deployment.counter("turns_failed") == 1
            assert "❌ Turn failed" in deployment.log()
        deployment.expect_no_more(user, 1)
