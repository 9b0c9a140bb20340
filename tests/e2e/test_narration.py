"""Voice notes that are spoken while the agent still writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from sandbox.pace import Pace
from tests.e2e.conftest import StartWorld
from tests.e2e.world import World
from tests.sandbox.waiting import wait_until

ANSWER = (
    "Your parcel left our warehouse in Cairo on Tuesday evening. It should be with you on Friday, "
    "between nine in the morning and noon. If nobody is at home then, the driver leaves it in the "
    "shop at the corner of your street. You can fetch it there for a whole week, every day until "
    "eight in the evening. Please bring the number we sent you and a passport."
)
DRAFT = (
    "Your parcel was lost somewhere on its way to you, and nobody knows where it is. You will get "
    "neither another one nor your money back, neither now nor later. Please do not write to us "
    "about this ever again. Nobody would read it."
)
HELPDESK = f"""
yes = []
no = []
entry = []

[greeting]
en = "Hello!"
ar = "مرحبًا!"

[unknown]
en = "{ANSWER}"
ar = "لا أعرف."

[[scripted]]
question = "where did you lose it"
messages = [
    {{ type = "ValidationFailureChunk", draft = "{DRAFT}", reason = "UNGROUNDED" }},
    {{ type = "Inform", text = "{ANSWER}" }},
]
"""


@pytest.fixture(scope="module")
def slow_world(
    start_world: StartWorld, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The agent writes for half a second, at the end of a turn that takes longer."""
    helpdesk = tmp_path_factory.mktemp("helpdesk") / "helpdesk.toml"
    helpdesk.write_text(HELPDESK)
    with start_world(helpdesk_file=helpdesk, pace=Pace(ask=1.2), SPEECH_CACHE_BYTES="0") as world:
        yield world


@pytest.fixture
def world(slow_world: World) -> Iterator[World]:
    slow_world.begin()
    yield slow_world
    slow_world.check()


@contextmanager
def unfinished(world: World) -> Iterator[None]:
    """The agent does not end its turn, nor take anything back."""
    world.sandbox.agentforce.may_end.clear()
    try:
        yield
    finally:
        world.sandbox.agentforce.may_end.set()


def test_speech_begins_before_the_agent_has_ended(world: World) -> None:
    """But nothing is sent before."""
    user = world.user()
    with unfinished(world):
        world.twilio.speak(user, world.note("Where is my parcel?"))
        wait_until(lambda: len(world.spoken_since()) > 0, "the first piece to be spoken")
        assert not world.twilio.messages(user)
    voice = world.twilio.wait_for_voice(user)
    assert len(world.sandbox.ledger.calls("agentforce", "ask")) == 1
    assert world.hear(voice) == ANSWER
    assert {piece.text in ANSWER for piece in world.spoken_since()} == {True}
    assert world.counter("speech_characters_discarded") == 0


def test_each_piece_is_spoken_knowing_what_is_around_it(world: World) -> None:
    """Where the agent has written it yet: what follows the last piece of a moment is unknown."""
    user = world.user()
    world.twilio.speak(user, world.note("Where is my parcel?"))
    world.twilio.wait_for_voice(user)
    pieces = sorted(world.spoken_since(), key=lambda piece: ANSWER.index(piece.text))
    assert len(pieces) > 3
    for before, piece in pairwise(pieces):
        assert piece.previous_text == before.text
        assert before.next_text
        assert ANSWER[ANSWER.index(piece.text) :].startswith(before.next_text)


def test_what_the_agent_takes_back_is_never_heard(world: World) -> None:
    """What was spoken of it is paid for and counted."""
    user = world.user()
    before = world.counter("speech_characters_discarded")
    with unfinished(world):
        world.twilio.speak(user, world.note("Where did you lose it?"))
        wait_until(lambda: len(world.spoken_since()) > 0, "a piece of the draft to be spoken")
    voice = world.twilio.wait_for_voice(user)
    assert [message.body for message in world.answers(user, 2)] == [ANSWER, ""]
    assert world.hear(voice) == ANSWER
    in_vain = [piece for piece in world.spoken_since() if piece.text in DRAFT]
    assert in_vain
    paid = sum(piece.characters for piece in in_vain)
    assert world.counter("speech_characters_discarded") - before == paid
