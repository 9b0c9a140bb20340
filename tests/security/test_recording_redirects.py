"""Redirects of a recording to hosts and paths that are not Twilio's."""

from __future__ import annotations

import pytest

from tests.e2e.deployment import Deployment


def check_not_followed(deployment: Deployment, location: str) -> None:
    """Raise unless the CDN gets no request and the sender reads that the recording is missing."""
    deployment.add_fault(
        "twilio", "media", "status", status=307, headers={"Location": location}, body=""
    )
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note("Thanks"))
    assert deployment.answers(user, 1)[0].body.startswith("Sorry, I couldn't fetch")
    assert "media_cdn" not in [call.name for call in deployment.calls("twilio")]


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
def test_a_path_that_leads_elsewhere_is_not_followed(deployment: Deployment, path: str) -> None:
    location = f"http://{deployment.twilio.cdn.host}{path}"
    check_not_followed(deployment, location)


@pytest.mark.parametrize(
    "host", ["user@localhost:{port}", "localhost.:{port}", "127.0.0.1:{port}", "localhost"]
)
def test_a_host_in_another_spelling_is_not_asked(deployment: Deployment, host: str) -> None:
    location = f"http://{host.format(port=deployment.twilio.cdn.port)}/AC/x"
    check_not_followed(deployment, location)
