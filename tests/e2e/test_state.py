"""What the dashboard says about the service now, as its operator causes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until

# Made up; the stand-ins know others.
WRONG = {
    name: f"not-the-{name.lower()}"
    for name in ("TWILIO_AUTH_TOKEN", "SALESFORCE_CONSUMER_SECRET", "ELEVENLABS_API_KEY")
}
REFUSED_KEY = '{"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}'


def state(deployment: Deployment) -> dict[str, Any]:
    answer = requests.get(f"{deployment.bridge.url}/dashboard/state", timeout=10)
    assert answer.status_code == 200
    return dict(answer.json())


def outcomes(deployment: Deployment) -> tuple[int, int]:
    """The turns with and without an answer."""
    answer = requests.get(f"{deployment.bridge.url}/dashboard/history", timeout=10)
    total = answer.json()["total"]
    return total["answered"], total["failed"]


def verdict(deployment: Deployment) -> tuple[str, str]:
    found = state(deployment)["verdict"]
    return found["level"], found["title"]


def provider(deployment: Deployment, name: str) -> dict[str, Any]:
    return dict(next(each for each in state(deployment)["providers"] if each["name"] == name))


def error_names(deployment: Deployment) -> set[str]:
    return {error["name"] for error in state(deployment)["errors"]}


def wait_for_verdict(deployment: Deployment, level: str, title: str) -> None:
    wait_until(lambda: verdict(deployment) == (level, title), f"{title}: {verdict(deployment)}", 30)


@pytest.fixture(scope="module")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(SPEECH_CACHE_BYTES="0") as deployment:
        yield deployment


def test_wrong_secrets_and_refused_webhooks_are_named(start_deployment: StartDeployment) -> None:
    with start_deployment(**WRONG) as deployment:
        # The token is fetched before any message comes.
        wait_for_verdict(deployment, "warn", "Salesforce refuses our requests")
        user = deployment.user()
        form = deployment.twilio.forms.text(user, "hello")
        assert deployment.twilio.deliver(form).status == 403
        wait_until(lambda: state(deployment)["refused_webhooks"]["count"] == 1, "it is counted")
        refused = state(deployment)["refused_webhooks"]
        assert refused["last_at"] > 0
        assert refused["expected_url"] == f"{deployment.bridge.url}/"
        # A local message without a signature passes, so that the rest can be seen as well.
        assert deployment.twilio.deliver(form, signed=False).status == 200
        title = "Nobody is answered: Twilio and Salesforce refuse our requests"
        wait_for_verdict(deployment, "bad", title)
        both = {"LoginRefused", "SendUnauthorized"}
        wait_until(lambda: error_names(deployment) == both, "both errors are counted")
        found = state(deployment)
        assert all(error["advice"] and error["link"] for error in found["errors"])
        assert (found["last_message_at"] or 0) > 0
        assert found["last_answer_at"] is None
        wait_until(lambda: outcomes(deployment) == (0, 1), "the turn is counted as failed")
        deployment.sandbox.recorder.clear()


def test_a_refused_webhook_is_over_when_the_next_one_is_accepted(deployment: Deployment) -> None:
    form = deployment.twilio.forms.text(deployment.user(), "hello")
    forged = {"X-Twilio-Signature": "forged"}
    requests.post(deployment.bridge.url, data=form, headers=forged, timeout=10)
    wait_for_verdict(deployment, "warn", "Webhooks are refused")
    deployment.ask("hello")
    wait_for_verdict(deployment, "good", "Messages are answered")


def test_a_command_is_no_answer_of_the_agent(deployment: Deployment) -> None:
    """While nobody is answered, the service's own sentences do not hide it."""
    deployment.ask("hello")
    user = deployment.user()
    deployment.add_fault("agentforce", "ask", "status", status=401, times=None)
    deployment.ask("Where is my order?", user)
    red = ("bad", "Nobody is answered: Salesforce refuses our requests")
    wait_for_verdict(deployment, *red)
    answered_at = state(deployment)["last_answer_at"]
    deployment.ask("voice on", user)
    wait_until(lambda: deployment.counter("commands") == 1, "the command is counted")
    assert (verdict(deployment), state(deployment)["last_answer_at"]) == (red, answered_at)
    deployment.sandbox.faults.clear()
    deployment.ask("hello")
    wait_for_verdict(deployment, "good", "Messages are answered")


def test_what_strangers_post_is_no_refused_webhook(deployment: Deployment) -> None:
    """They do not know the account's SID."""
    deployment.ask("hello")
    wait_for_verdict(deployment, "good", "Messages are answered")
    refused = state(deployment)["refused_webhooks"]["count"]
    rejected = deployment.counter("signatures_rejected")
    form = "application/x-www-form-urlencoded"
    forged = {"X-Twilio-Signature": "forged", "Content-Type": form}
    for body in ("a=b", f"AccountSid=AC{'0' * 32}", "&" * 120):
        answer = requests.post(deployment.bridge.url, data=body, headers=forged, timeout=10)
        assert answer.status_code in (400, 403)
    assert deployment.counter("signatures_rejected") == rejected + 3
    assert state(deployment)["refused_webhooks"]["count"] == refused
    assert verdict(deployment) == ("good", "Messages are answered")


def test_a_refused_key_of_elevenlabs_is_over_when_it_works_again(deployment: Deployment) -> None:
    fault = deployment.add_fault(
        "elevenlabs", "transcribe", status=401, body=REFUSED_KEY, times=None
    )
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note("hello"))
    deployment.answers(user, 1)
    wait_for_verdict(deployment, "warn", "ElevenLabs refuses our requests")
    refusing = provider(deployment, "elevenlabs")
    assert (refusing["state"], refusing["error"]) == ("refused", "SpeechRefused")
    assert refusing["last_failure_at"] > 0
    # An answer to a text says nothing about it.
    deployment.ask("hello")
    wait_until(lambda: (state(deployment)["last_answer_at"] or 0) > 0, "the answer")
    assert error_names(deployment) == {"SpeechRefused"}
    assert verdict(deployment)[0] == "warn"
    deployment.sandbox.faults.remove(fault)
    deployment.twilio.speak(user, deployment.note("hello"))
    deployment.twilio.wait_for_voice(user)
    wait_for_verdict(deployment, "good", "Messages are answered")
    found = state(deployment)
    assert found["errors"] == []
    assert {each["state"] for each in found["providers"]} == {"working"}


def test_an_apology_is_no_answer(deployment: Deployment) -> None:
    def counted() -> tuple[int, int, int]:
        metrics = deployment.metrics()
        counters = metrics["counters"]
        return counters["turns_answered"], counters["turns_failed"], metrics["total_time"]["count"]

    answered, failed, timed = counted()
    deployment.add_fault("agentforce", "ask", status=503)
    apology = deployment.ask("hello")
    assert apology.body.startswith("Sorry, I couldn't get an answer.")
    wait_until(lambda: counted() == (answered, failed + 1, timed), "the apology is counted")
    deployment.ask("hello")
    wait_until(lambda: counted() == (answered + 1, failed + 1, timed + 1), "the answer is counted")


def test_a_line_about_a_silent_recording_is_no_failure_of_the_service(
    start_deployment: StartDeployment,
) -> None:
    """Not even many of them, without any answer in between."""
    # Of its own, as failures of other tests would count.
    with start_deployment() as deployment:
        for _ in range(4):
            user = deployment.user()
            deployment.twilio.speak(user, deployment.note(""))
            deployment.answers(user, 1)
        wait_until(lambda: outcomes(deployment) == (0, 4), "the turns are counted")
        assert verdict(deployment) == ("good", "Messages are answered")


def test_what_worked_once_stays_known_after_a_kill(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note("hello"))
    deployment.twilio.wait_for_voice(user)
    deployment.ask("hello")

    def firsts() -> dict[str, float | None]:
        return {each["title"]: each["at"] for each in state(deployment)["checklist"]["firsts"]}

    wait_until(lambda: None not in firsts().values(), "everything has worked once")
    before, last = firsts(), state(deployment)["last_answer_at"]
    # The next process fetches a token of its own.
    deployment.sandbox.agentforce.forget_tokens()
    deployment.bridge.kill()
    deployment.bridge.start()
    assert firsts() == before
    assert state(deployment)["last_answer_at"] == last
