"""``cli.signed_message`` against a service that refuses unsigned messages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sandbox.bridge import ROOT, free_port
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment

NAMES = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_WHATSAPP_FROM", "PUBLIC_URL")


@pytest.fixture(scope="module")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(UNSIGNED_LOCAL_WEBHOOKS="false") as deployment:
        yield deployment


@pytest.fixture
def deployment(shared_deployment: Deployment) -> Deployment:
    """The shared service, without the check of rules: Twilio did not get these messages."""
    shared_deployment.begin()
    return shared_deployment


def post(
    deployment: Deployment, *arguments: str, piped: str | None = None, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run the command with the service's settings in its environment, unless they are piped."""
    settings = {} if piped else {name: deployment.bridge.settings[name] for name in NAMES}
    return subprocess.run(
        [sys.executable, "-m", "cli.signed_message", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "*"} | settings | changes,
        input=piped,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_signed_message_is_answered(deployment: Deployment) -> None:
    """With settings as ``heroku config -s`` prints them; the answer goes to the sender's phone."""
    user = deployment.user()
    config = "".join(f"{name}='{deployment.bridge.settings[name]}'\n" for name in NAMES)
    number = user.removeprefix("whatsapp:")
    done = post(deployment, "--sender", number, "--text", "hello", "--settings", "-", piped=config)
    assert (done.returncode, done.stderr) == (0, "")
    assert "200: accepted" in done.stdout
    assert deployment.answers(user, 1)[0].body.startswith("Hello")
    assert deployment.bridge.settings["TWILIO_AUTH_TOKEN"] not in done.stdout


def test_a_refusal_says_what_to_check(deployment: Deployment) -> None:
    done = post(deployment, "--sender", "+15550101", TWILIO_AUTH_TOKEN="of-another-account")
    assert done.returncode == 1
    for said in ("403", "TWILIO_AUTH_TOKEN", "PUBLIC_URL", f"{deployment.bridge.url}/"):
        assert said in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--url", f"http://127.0.0.1:{free_port()}"], "No answer: ConnectionError"),
        (["--url", "{elevenlabs}"], "no bridge answers there"),
        (["--url", "bad url"], "PUBLIC_URL is not a web address"),
        (["--settings", "no-such-file"], "No such file"),
    ],
)
def test_every_error_is_explained_in_one_sentence(
    deployment: Deployment, arguments: list[str], expected: str
) -> None:
    elsewhere = deployment.sandbox.elevenlabs.url
    arguments = [each.format(elevenlabs=elsewhere) for each in arguments]
    done = post(deployment, "--sender", "+15550101", *arguments)
    assert (done.returncode, done.stderr) == (1, "")
    assert expected in done.stdout
