"""Providers that are down for everybody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.e2e.conftest import StartCluster, StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until
from tests.security.planted import planted

QUESTION = "How do I register an electronic invoice?"
ANSWER = "To register an electronic invoice"
AGENT = "Sorry, I couldn't get an answer."
FAILURES = 2
# Long enough that it is still open when the next user writes.
OPEN = {"BREAKER_FAILURES": str(FAILURES)}
SHORT_RECOVERY = "import services; services.BREAKER_SECONDS = 3.0"


@pytest.fixture(scope="module")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(command=planted(SHORT_RECOVERY), **OPEN) as deployment:
        yield deployment


def ask(deployment: Deployment) -> str:
    user = deployment.user()
    deployment.twilio.say(user, QUESTION)
    return deployment.answers(user, 1)[0].body


def asked(deployment: Deployment) -> int:
    return len(deployment.calls("agentforce", "ask"))


def down(address: str) -> list[str]:
    answer = requests.get(f"{address}/health", timeout=10)
    assert answer.status_code == 200
    return list(answer.json()["clouds_down"])


def test_an_open_breaker_fails_at_once_until_a_probe_succeeds(deployment: Deployment) -> None:
    deployment.add_fault("agentforce", "ask", status=503, times=None)
    before = deployment.counter("breakers_opened"), deployment.counter("calls_not_made")
    for _ in range(FAILURES):
        assert ask(deployment).startswith(AGENT)
    assert asked(deployment) == FAILURES
    assert down(deployment.bridge.url) == ["Agentforce answers"]
    assert ask(deployment).startswith(AGENT)
    assert asked(deployment) == FAILURES
    after = deployment.counter("breakers_opened"), deployment.counter("calls_not_made")
    assert after == (before[0] + 1, before[1] + 1)
    deployment.sandbox.faults.clear()
    wait_until(lambda: ask(deployment).startswith(ANSWER), "a probe")
    assert down(deployment.bridge.url) == []
    assert deployment.log().count("Provider is down; users are told at once") == 1
    assert deployment.log().count("Provider is back") == 1


def test_an_open_breaker_of_speech_synthesis_leaves_transcription_alone(
    deployment: Deployment,
) -> None:
    deployment.add_fault("elevenlabs", "speak", status=503, times=None)
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(QUESTION))
    wait_until(lambda: "ElevenLabs synthesis" in down(deployment.bridge.url), "failures")
    deployment.twilio.speak(user, deployment.note(QUESTION))
    first, second = deployment.answers(user, 2)
    assert first.body.startswith(ANSWER)
    assert second.body.startswith(ANSWER)


def test_health_of_web_processes_lists_providers_that_are_down_for_workers(
    start_cluster: StartCluster,
) -> None:
    with start_cluster(webs=1, workers=1, BREAKER_FAILURES="1") as (deployment, cluster):
        deployment.add_fault("agentforce", "ask", status=503, times=None)
        assert ask(deployment).startswith(AGENT)
        wait_until(lambda: down(cluster.url) == ["Agentforce answers"], "a report")
