"""Clouds that are down for everybody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from sandbox.faults import Fault
from tests.e2e.conftest import StartCluster, StartWorld
from tests.e2e.world import World
from tests.sandbox.waiting import wait_until

QUESTION = "How do I register an electronic invoice?"
ANSWER = "To register an electronic invoice"
AGENT = "Sorry, I couldn't get an answer."
FAILURES = 2
# Long enough that it is still open when the next user writes.
OPEN = {"BREAKER_FAILURES": str(FAILURES), "BREAKER_SECONDS": "3"}


@pytest.fixture(scope="module")
def own_world(start_world: StartWorld) -> Iterator[World]:
    with start_world(**OPEN) as world:
        yield world


@pytest.fixture
def world(own_world: World) -> Iterator[World]:
    own_world.begin()
    yield own_world
    own_world.check()


def ask(world: World) -> str:
    user = world.user()
    world.twilio.say(user, QUESTION)
    return world.answers(user, 1)[0].body


def asked(world: World) -> int:
    return len(world.sandbox.ledger.calls("agentforce", "ask"))


def down(address: str) -> list[str]:
    answer = requests.get(f"{address}/health", timeout=10)
    assert answer.status_code == 200
    return list(answer.json()["clouds_down"])


def test_users_are_told_at_once_until_a_probe_finds_the_agent_back(world: World) -> None:
    world.sandbox.faults.add(Fault("agentforce", "ask", status=503, times=None))
    before = world.counter("breakers_opened"), world.counter("calls_not_made")
    for _ in range(FAILURES):
        assert ask(world).startswith(AGENT)
    assert asked(world) == FAILURES
    assert down(world.bridge.url) == ["Agentforce answers"]
    assert ask(world).startswith(AGENT)
    assert asked(world) == FAILURES
    after = world.counter("breakers_opened"), world.counter("calls_not_made")
    assert after == (before[0] + 1, before[1] + 1)
    world.sandbox.faults.clear()
    wait_until(lambda: ask(world).startswith(ANSWER), "a probe")
    assert down(world.bridge.url) == []
    assert world.log().count("Cloud is down; users are told at once") == 1
    assert world.log().count("Cloud is back") == 1


def test_voice_notes_that_fail_do_not_keep_anybody_from_being_heard(world: World) -> None:
    world.sandbox.faults.add(Fault("elevenlabs", "speak", status=503, times=None))
    user = world.user()
    world.twilio.speak(user, world.note(QUESTION))
    wait_until(lambda: "ElevenLabs speaking" in down(world.bridge.url), "failures")
    world.twilio.speak(user, world.note(QUESTION))
    first, second = world.answers(user, 2)
    assert first.body.startswith(ANSWER)
    assert second.body.startswith(ANSWER)


def test_what_is_down_for_workers_is_seen_at_the_webs(start_cluster: StartCluster) -> None:
    with start_cluster(webs=1, workers=1, BREAKER_FAILURES="1") as (world, cluster):
        world.sandbox.faults.add(Fault("agentforce", "ask", status=503, times=None))
        assert ask(world).startswith(AGENT)
        wait_until(lambda: down(cluster.url) == ["Agentforce answers"], "a report")
