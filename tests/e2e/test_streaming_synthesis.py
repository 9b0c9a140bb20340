"""Speech synthesis that begins while the agent still writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from sandbox.latency import LatencyProfile
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
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
def shared_deployment(
    start_deployment: StartDeployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A service whose agent writes its answer during half a second."""
    helpdesk = tmp_path_factory.mktemp("helpdesk") / "helpdesk.toml"
    helpdesk.write_text(HELPDESK)
    with start_deployment(
        helpdesk_file=helpdesk, latency=LatencyProfile(ask=1.2), SPEECH_CACHE_BYTES="0"
    ) as deployment:
        yield deployment


@contextmanager
def unfinished(deployment: Deployment) -> Iterator[None]:
    """Keep the agent from ending its turn and from retracting its draft."""
    deployment.sandbox.agentforce.may_end.clear()
    try:
        yield
    finally:
        deployment.sandbox.agentforce.may_end.set()


def test_speech_begins_before_the_agent_has_ended(deployment: Deployment) -> None:
    """Nothing is sent before the agent has ended."""
    user = deployment.user()
    with unfinished(deployment):
        deployment.twilio.speak(user, deployment.note("Where is my parcel?"))
        wait_until(lambda: len(deployment.synthesised()) > 0, "the first piece to be spoken")
        assert not deployment.twilio.messages(user)
    voice = deployment.twilio.wait_for_voice(user)
    assert len(deployment.calls("agentforce", "ask")) == 1
    assert deployment.hear(voice) == ANSWER
    assert {piece.text in ANSWER for piece in deployment.synthesised()} == {True}
    assert deployment.counter("speech_characters_discarded") == 0


def test_each_piece_is_synthesised_with_its_context(deployment: Deployment) -> None:
    """Text that follows is given as far as the agent has already written it."""
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note("Where is my parcel?"))
    deployment.twilio.wait_for_voice(user)
    pieces = sorted(deployment.synthesised(), key=lambda piece: ANSWER.index(piece.text))
    assert len(pieces) > 3
    for before, piece in pairwise(pieces):
        assert piece.previous_text == before.text
        assert before.next_text
        assert ANSWER[ANSWER.index(piece.text) :].startswith(before.next_text)


def test_a_retracted_draft_is_never_sent_as_voice(deployment: Deployment) -> None:
    """The pieces of it that were synthesised are counted as discarded."""
    user = deployment.user()
    before = deployment.counter("speech_characters_discarded")
    with unfinished(deployment):
        deployment.twilio.speak(user, deployment.note("Where did you lose it?"))
        wait_until(lambda: len(deployment.synthesised()) > 0, "a piece of the draft to be spoken")
    voice = deployment.twilio.wait_for_voice(user)
    assert [message.body for message in deployment.answers(user, 2)] == [ANSWER, ""]
    assert deployment.hear(voice) == ANSWER
    in_vain = [piece for piece in deployment.synthesised() if piece.text in DRAFT]
    assert in_vain
    paid = sum(piece.characters for piece in in_vain)
    assert deployment.counter("speech_characters_discarded") - before == paid
