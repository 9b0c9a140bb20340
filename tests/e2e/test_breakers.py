"""Providers that are down for everybody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from sandbox.faults import Fault
from tests.e2e.conftest import StartCluster, StartDeployment
from tests.e2e.deployment import Deployment
from tests.sandbox.waiting import wait_until

QUESTION = "How do I register an electronic invoice?"
ANSWER = "To register an electronic invoice"
AGENT = "Sorry, I couldn't get an answer."
FAILURES = 2
# Long enough that it is still open when the next user writes.
OPEN = {"BREAKER_FAILURES": str(FAILURES), "PROVIDER_TIMEOUT_FACTOR": "0.1"}


@pytest.fixture(scope="module")
def own_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(**OPEN) as deployment:
        yield deployment


@pytest.fixture
def deployment(own_deployment: Deployment) -> Iterator[Deployment]:
    own_deployment.begin()
    yield own_deployment
    own_deployment.check()


def ask(deployment: Deployment) -> str:
    user = deployment.user()
    deployment.twilio.say(user, QUESTION)
    return deployment.answers(user, 1)[0].body


def asked(deployment: Deployment) -> int:
    return len(deployment.sandbox.recorder.calls("agentforce", "ask"))


def down(address: str) -> list[str]:
    answer = requests.get(f"{address}/health", timeout=10)
    assert answer.status_code == 200
    return list(answer.json()["clouds_down"])


def test_users_are_told_at_once_until_a_probe_finds_the_agent_back(deployment: Deployment) -> None:
    deployment.sandbox.faults.add(Fault("agentforce", "ask", status=503, times=None))
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


def test_voice_notes_that_fail_do_not_keep_anybody_from_being_heard(deployment: Deployment) -> None:
    deployment.sandbox.faults.add(Fault("elevenlabs", "speak", status=503, times=None))
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(QUESTION))
    wait_until(lambda: "ElevenLabs speaking" in down(deployment.bridge.url), "failures")
    deployment.twilio.speak(user, deployment.note(QUESTION))
    first, second = deployment.answers(user, 2)
    assert first.body.startswith(ANSWER)
    assert second.body.startswith(ANSWER)


def test_what_is_down_for_workers_is_seen_at_the_webs(start_cluster: StartCluster) -> None:
    with start_cluster(webs=1, workers=1, BREAKER_FAILURES="1") as (deployment, cluster):
        deployment.sandbox.faults.add(Fault("agentforce", "ask", status=503, times=None))
        assert ask(deployment).startswith(AGENT)
        wait_until(lambda: down(cluster.url) == ["Agentforce answers"], "a report")
