"""Whatever goes wrong in a turn, of whatever class, its sender hears of it and nobody else does."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import StartWorld
from tests.security.planted import planted

# In what is done for the answer, beside it, to send it, and in the webhook behind the writing down.
PLACES = {
    "conversation": "turns.pipeline.Pipeline._question",
    "delivery": "whatsapp.delivery.Delivery.send_text",
    "prewarmer": "turns.prewarming.Prewarmer.start_ahead",
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
    start_world: StartWorld, place: str, error: str
) -> None:
    with start_world(command=planted(PLANTED.format(place=place, error=error))) as world:
        user = world.user()
        assert world.twilio.say(user, "hello").status == 200
        (answer,) = world.answers(user, 1)
        if "Prewarmer" not in place:
            assert answer.body.startswith("Sorry, something went wrong")
            assert world.counter("turns_failed") == 1
            assert "❌ Turn failed" in world.log()
        world.expect_no_more(user, 1)
