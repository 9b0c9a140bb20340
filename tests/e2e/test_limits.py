"""How often users may write, and who may at all."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.e2e.conftest import StartCluster, StartWorld
from tests.e2e.world import World

PER_MINUTE = 3
PER_DAY = 5
SLOW_DOWN = "Sorry, that's a lot of messages."
NO_MORE = "Sorry, I can't take any more of your messages today."
INVITED_ONLY = "Sorry, this number is open to invited people only"
EMPTY = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


@pytest.fixture(scope="module")
def limited(start_world: StartWorld) -> Iterator[World]:
    with start_world(SENDER_TURNS_PER_MINUTE=str(PER_MINUTE)) as world:
        yield world


@pytest.fixture
def world(limited: World) -> Iterator[World]:
    limited.begin()
    yield limited
    limited.check()


def bodies(world: World, user: str, count: int) -> list[str]:
    return [message.body for message in world.answers(user, count)]


def test_whoever_writes_too_often_is_told_once(world: World) -> None:
    user, other = world.user(), world.user()
    before = world.counter("messages_limited")
    deliveries = [world.twilio.say(user, "hello") for _ in range(PER_MINUTE + 3)]
    assert [delivery.status for delivery in deliveries] == [200] * (PER_MINUTE + 3)
    assert [delivery.body for delivery in deliveries].count(EMPTY) == PER_MINUTE + 2
    said = bodies(world, user, PER_MINUTE + 1)
    assert sum(body.startswith("Hello!") for body in said) == PER_MINUTE
    assert sum(body.startswith(SLOW_DOWN) for body in said) == 1
    assert world.counter("messages_limited") == before + 3
    assert user.removeprefix("whatsapp:") not in world.log()
    # Others are served meanwhile, and have quotas of their own.
    world.twilio.say(other, "hello")
    assert bodies(world, other, 1)[0].startswith("Hello!")
    assert len(world.twilio.messages(user)) == PER_MINUTE + 1


def test_a_burst_gets_no_more_in_than_one_after_the_other(world: World) -> None:
    user = world.user()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: world.twilio.say(user, "hello"), range(16)))
    said = bodies(world, user, PER_MINUTE + 1)
    assert sum(body.startswith("Hello!") for body in said) == PER_MINUTE
    assert sum(body.startswith(SLOW_DOWN) for body in said) == 1


def test_a_message_that_comes_twice_counts_once_and_is_not_refused(world: World) -> None:
    """Also where there is no room any more: it is being answered."""
    user = world.user()
    forms = [world.twilio.forms.text(user, "hello") for _ in range(PER_MINUTE)]
    for form in [*forms, *forms]:
        assert world.twilio.deliver(form).body == EMPTY
    assert all(body.startswith("Hello!") for body in bodies(world, user, PER_MINUTE))
    assert len(world.twilio.messages(user)) == PER_MINUTE


def test_it_is_said_in_the_language_of_the_message(world: World) -> None:
    user = world.user()
    for _ in range(PER_MINUTE + 1):
        world.twilio.say(user, "مرحبا")
    said = bodies(world, user, PER_MINUTE + 1)
    assert any(body.startswith("عذرًا، هذه رسائل كثيرة") for body in said)


def test_a_message_without_a_valid_signature_counts_against_nobody(world: World) -> None:
    """Or anybody could silence a user whose number they know."""
    user = world.user()
    for _ in range(PER_MINUTE + 1):
        answer = requests.post(
            world.bridge.url,
            data=world.twilio.forms.text(user, "hello"),
            headers={"X-Twilio-Signature": "forged"},
            timeout=10,
        )
        assert answer.status_code == 403
    world.twilio.say(user, "hello")
    assert bodies(world, user, 1)[0].startswith("Hello!")


def test_a_day_has_an_end_too_and_a_restart_forgets_nothing(start_world: StartWorld) -> None:
    with start_world(SENDER_TURNS_PER_DAY=str(PER_DAY)) as world:
        user = world.user()
        for _ in range(PER_DAY - 1):
            world.twilio.say(user, "hello")
        world.answers(user, PER_DAY - 1)
        world.bridge.kill()
        world.bridge.start()
        world.twilio.say(user, "hello")
        world.twilio.say(user, "hello")
        said = bodies(world, user, PER_DAY + 1)
        assert sum(body.startswith("Hello!") for body in said) == PER_DAY
        assert sum(body.startswith(NO_MORE) for body in said) == 1


def test_all_together_have_a_limit(start_world: StartWorld) -> None:
    with start_world(TURNS_PER_MINUTE="2") as world:
        users = [world.user() for _ in range(3)]
        for user in users:
            world.twilio.say(user, "hello")
        assert [bodies(world, user, 1)[0].split(",")[0] for user in users][2] == "Sorry"
        assert bodies(world, users[2], 1)[0].startswith("Sorry, too many people are writing")


def test_only_those_who_are_invited_are_served(start_world: StartWorld) -> None:
    """By their address as it is, which need not hold a number."""
    invited = "whatsapp:US.1234567890123456789"
    with start_world(ALLOWED_SENDERS=f"whatsapp:+4915550000001, {invited}") as world:
        stranger = world.user()
        for _ in range(3):
            assert world.twilio.say(stranger, "hello").status == 200
        world.twilio.say(invited, "hello")
        assert bodies(world, invited, 1)[0].startswith("Hello!")
        (line,) = world.twilio.messages(stranger)
        assert line.body.startswith(INVITED_ONLY)
        # Nobody else cost anything.
        assert len(world.sandbox.ledger.calls("agentforce", "session")) == 1
        assert world.counter("messages_limited") == 3


def test_several_webs_count_and_tell_as_one(start_cluster: StartCluster) -> None:
    with start_cluster(workers=1, SENDER_TURNS_PER_MINUTE=str(PER_MINUTE)) as (world, cluster):
        user = world.user()
        assert len(cluster.webs) > 1
        # Each goes to the next web.
        for _ in range(PER_MINUTE + 4):
            world.twilio.say(user, "hello")
        said = bodies(world, user, PER_MINUTE + 1)
        assert sum(body.startswith("Hello!") for body in said) == PER_MINUTE
        assert sum(body.startswith(SLOW_DOWN) for body in said) == 1
