"""A redirect of a recording to what is not Twilio's, past the check of its address."""

from __future__ import annotations

import pytest

from sandbox.faults import Fault
from tests.e2e.world import World


def check_not_followed(world: World, location: str) -> None:
    """The CDN is not asked at all; the sender is told that the recording was not to be had."""
    world.sandbox.faults.add(
        Fault("twilio", "media", "status", status=307, headers={"Location": location}, body="")
    )
    user = world.user()
    world.twilio.speak(user, world.note("Thanks"))
    assert world.answers(user, 1)[0].body.startswith("Sorry, I couldn't fetch")
    assert "media_cdn" not in [call.name for call in world.sandbox.ledger.calls("twilio")]


@pytest.mark.parametrize(
    "path",
    [
        "/media.twiliocdn.com/../other-bucket/x",
        "/media.twiliocdn.com/%2e%2e/other-bucket/x",
        "/media.twiliocdn.com/.%252E/other-bucket/x",
        "/media.twiliocdn.com/..\\other-bucket/x",
        "/other-bucket/x/./y",
    ],
)
def test_a_path_that_leads_elsewhere_is_not_followed(world: World, path: str) -> None:
    location = f"http://{world.twilio.cdn.host}{path}"
    check_not_followed(world, location)


@pytest.mark.parametrize(
    "host", ["user@localhost:{port}", "localhost.:{port}", "127.0.0.1:{port}", "localhost"]
)
def test_a_host_in_another_spelling_is_not_asked(world: World, host: str) -> None:
    location = f"http://{host.format(port=world.twilio.cdn.port)}/AC/x"
    check_not_followed(world, location)
