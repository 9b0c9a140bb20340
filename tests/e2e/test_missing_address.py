"""A service that nobody has told its address, as the Heroku button leaves it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests

from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until

WARNING = "PUBLIC_URL is not set: no message is accepted until it is"
# Longer than any test takes: what hangs is still hanging when the process dies.
FOR_EVER = 60.0
GUESSES = {"X-Forwarded-Host": "bot.example.com", "X-Forwarded-Proto": "https"}


@pytest.fixture(scope="module")
def unaddressed(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(
        PUBLIC_URL="", UNSIGNED_LOCAL_WEBHOOKS="false", METRICS_TOKEN="open-sesame"
    ) as deployment:
        yield deployment


def test_it_starts_and_logs_what_to_set(unaddressed: Deployment) -> None:
    (line,) = [line for line in unaddressed.log().splitlines() if WARNING in line]
    assert "heroku labs:enable runtime-dyno-metadata" in line


@pytest.mark.parametrize("path", ["/", "/dashboard"])
def test_its_pages_say_what_to_set_and_ask_for_no_password(
    unaddressed: Deployment, path: str
) -> None:
    answer = requests.get(unaddressed.bridge.url + path, headers=GUESSES, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"][:9]) == (200, "text/html")
    assert "PUBLIC_URL" in answer.text
    # It repeats no header.
    assert "bot.example.com" not in answer.text
    assert not re.search(r"https?://\w", answer.text)


def test_metrics_stay_behind_their_token(unaddressed: Deployment) -> None:
    assert requests.get(f"{unaddressed.bridge.url}/metrics", timeout=10).status_code == 401


@pytest.mark.parametrize("path", ["/", "/status"])
def test_signed_webhooks_are_refused_and_the_log_says_why(
    unaddressed: Deployment, path: str
) -> None:
    """Whatever address is signed, also none at all and what the headers of the request claim."""
    user = unaddressed.user()
    form = unaddressed.twilio.forms.text(user, "hello")
    for address in (unaddressed.bridge.url + path, path, f"https://bot.example.com{path}", ""):
        answer = requests.post(
            unaddressed.bridge.url + path,
            data=form,
            headers=unaddressed.signature(address, form) | GUESSES,
            timeout=10,
        )
        assert answer.status_code == 403
    assert "PUBLIC_URL is not set, so no signature can be verified" in unaddressed.log()
    assert not unaddressed.calls("twilio")


def test_what_was_accepted_before_is_answered_without_a_voice_note(
    start_deployment: StartDeployment,
) -> None:
    """Somebody removed the setting while a message was being answered."""
    with start_deployment() as deployment:
        deployment.add_fault("agentforce", "ask", "hang", seconds=FOR_EVER)
        user = deployment.user()
        deployment.twilio.speak(user, deployment.note("Thanks"))
        deployment.wait_for_call("agentforce", "ask")
        deployment.bridge.kill()
        deployment.sandbox.faults.clear()
        deployment.bridge.settings |= {"PUBLIC_URL": "", "UNSIGNED_LOCAL_WEBHOOKS": "false"}
        deployment.bridge.start()
        (text,) = deployment.answers(user, 1)
        assert (text.media_url, text.callback) == (None, None)
        refused = "Voice note not sent: SendRefused: PUBLIC_URL is not set"
        wait_until(lambda: refused in deployment.log(), "the refused voice note")


def test_the_bare_name_of_a_heroku_app_gives_no_address(start_deployment: StartDeployment) -> None:
    with start_deployment(
        PUBLIC_URL="", UNSIGNED_LOCAL_WEBHOOKS="false", HEROKU_APP_NAME="bot"
    ) as deployment:
        assert WARNING in deployment.log()
