"""An unforeseen exception costs one answer: its sender is told, the next message is answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until
from tests.security.planted import planted

# A function that makes the answer, one that sends it, and one that the webhook calls in between.
PLACES = {
    "conversation": "turns.questions.QuestionReader.read",
    "delivery": "whatsapp.delivery.Delivery.send_text",
    "prewarmer": "turns.prewarming.Prewarmer.schedule",
}
ERRORS = ('RuntimeError("can\'t start new thread")', "MemoryError()", "OSError(24, 'files')")

# A function of PLACES raises once the error that a test has written to the file of its name.
PLANTED = """
import importlib, pathlib

def fail_once(place, original):
    file = pathlib.Path({folder!r}, place)

    def call(*arguments, **options):
        if file.exists():
            error = eval(file.read_text())
            file.unlink()
            raise error
        return original(*arguments, **options)

    return call

for place in {places!r}:
    module, owner, name = place.rsplit(".", 2)
    owner = getattr(importlib.import_module(module), owner)
    setattr(owner, name, fail_once(place, getattr(owner, name)))
"""


@pytest.fixture(scope="module")
def error_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("errors")


@pytest.fixture(scope="module")
def shared_deployment(
    start_deployment: StartDeployment, error_folder: Path
) -> Iterator[Deployment]:
    code = PLANTED.format(places=list(PLACES.values()), folder=str(error_folder))
    with start_deployment(command=planted(code)) as deployment:
        yield deployment


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_the_sender_is_told_and_the_next_message_is_answered(
    deployment: Deployment, error_folder: Path, place: str, error: str
) -> None:
    user, failed = deployment.user(), deployment.counter("turns_failed")
    (error_folder / place).write_text(error)
    assert deployment.twilio.say(user, "hello").status == 200
    (answer,) = deployment.answers(user, 1)
    assert not (error_folder / place).exists()
    if "Prewarmer" not in place:
        assert answer.body.startswith("Sorry, something went wrong")
        # It is counted after the apology was sent.
        wait_until(lambda: deployment.counter("turns_failed") == failed + 1, "it is counted")
        assert "❌ Turn failed" in deployment.log()
    deployment.expect_no_more(user, 1)
