"""How often users may write, and which users are served."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.e2e.conftest import StartCluster, StartDeployment
from tests.e2e.deployment import Deployment

PER_MINUTE = 3
PER_DAY = 5
SLOW_DOWN = "Sorry, that's a lot of messages."
NO_MORE = "Sorry, I can't take any more of your messages today."
INVITED_ONLY = "Sorry, this number is open to invited people only"
EMPTY = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


@pytest.fixture(scope="module")
def shared_deployment(start_deployment: StartDeployment) -> Iterator[Deployment]:
    with start_deployment(SENDER_TURNS_PER_MINUTE=str(PER_MINUTE)) as deployment:
        yield deployment


def bodies(deployment: Deployment, user: str, count: int) -> list[str]:
    return [message.body for message in deployment.answers(user, count)]


def test_a_sender_over_the_limit_is_told_once(deployment: Deployment) -> None:
    user, other = deployment.user(), deployment.user()
    before = deployment.counter("messages_limited")
    deliveries = [deployment.twilio.say(user, "hello") for _ in range(PER_MINUTE + 3)]
    assert [delivery.status for delivery in deliveries] == [200] * (PER_MINUTE + 3)
    assert [delivery.body for delivery in deliveries].count(EMPTY) == PER_MINUTE + 2
    texts = bodies(deployment, user, PER_MINUTE + 1)
    assert sum(body.startswith("Hello!") for body in texts) == PER_MINUTE
    assert sum(body.startswith(SLOW_DOWN) for body in texts) == 1
    assert deployment.counter("messages_limited") == before + 3
    assert user.removeprefix("whatsapp:") not in deployment.log()
    # Others are served meanwhile, and have quotas of their own.
    deployment.twilio.say(other, "hello")
    assert bodies(deployment, other, 1)[0].startswith("Hello!")
    assert len(deployment.twilio.messages(user)) == PER_MINUTE + 1


def test_a_reaction_neither_counts_nor_is_refused(deployment: Deployment) -> None:
    """It gets no answer, so it costs nothing, and a refusal would be noise."""
    user = deployment.user()
    reaction = deployment.twilio.forms.reaction
    for _ in range(PER_MINUTE):
        assert deployment.twilio.deliver(reaction(user)).body == EMPTY
    for _ in range(PER_MINUTE):
        assert deployment.twilio.say(user, "hello").body == EMPTY
    bodies(deployment, user, PER_MINUTE)
    assert deployment.twilio.deliver(reaction(user)).body == EMPTY


def test_the_limit_holds_for_simultaneous_messages(deployment: Deployment) -> None:
    user = deployment.user()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: deployment.twilio.say(user, "hello"), range(16)))
    texts = bodies(deployment, user, PER_MINUTE + 1)
    assert sum(body.startswith("Hello!") for body in texts) == PER_MINUTE
    assert sum(body.startswith(SLOW_DOWN) for body in texts) == 1


def test_a_repeated_message_counts_once_and_is_not_refused(deployment: Deployment) -> None:
    """Not even if the limit is reached, because it is being answered."""
    user = deployment.user()
    forms = [deployment.twilio.forms.text(user, "hello") for _ in range(PER_MINUTE)]
    for form in [*forms, *forms]:
        assert deployment.twilio.deliver(form).body == EMPTY
    assert all(body.startswith("Hello!") for body in bodies(deployment, user, PER_MINUTE))
    assert len(deployment.twilio.messages(user)) == PER_MINUTE


def test_the_refusal_is_in_the_language_of_the_message(deployment: Deployment) -> None:
    user = deployment.user()
    for _ in range(PER_MINUTE + 1):
        deployment.twilio.say(user, "مرحبا")
    texts = bodies(deployment, user, PER_MINUTE + 1)
    assert any(body.startswith("عذرًا، هذه رسائل كثيرة") for body in texts)


def test_a_forged_message_does_not_count_against_its_sender(deployment: Deployment) -> None:
    """Otherwise anybody could silence a user whose number they know."""
    user = deployment.user()
    for _ in range(PER_MINUTE + 1):
        answer = requests.post(
            deployment.bridge.url,
            data=deployment.twilio.forms.text(user, "hello"),
            headers={"X-Twilio-Signature": "forged"},
            timeout=10,
        )
        assert answer.status_code == 403
    deployment.twilio.say(user, "hello")
    assert bodies(deployment, user, 1)[0].startswith("Hello!")


def test_the_daily_limit_survives_a_restart(
    start_deployment: StartDeployment,
) -> None:
    with start_deployment(SENDER_TURNS_PER_DAY=str(PER_DAY)) as deployment:
        user = deployment.user()
        for _ in range(PER_DAY - 1):
            deployment.twilio.say(user, "hello")
        deployment.answers(user, PER_DAY - 1)
        deployment.bridge.kill()
        deployment.bridge.start()
        deployment.twilio.say(user, "hello")
        deployment.twilio.say(user, "hello")
        texts = bodies(deployment, user, PER_DAY + 1)
        assert sum(body.startswith("Hello!") for body in texts) == PER_DAY
        assert sum(body.startswith(NO_MORE) for body in texts) == 1


def test_all_senders_together_have_a_limit(start_deployment: StartDeployment) -> None:
    with start_deployment(TURNS_PER_MINUTE="2") as deployment:
        users = [deployment.user() for _ in range(3)]
        for user in users:
            deployment.twilio.say(user, "hello")
        assert [bodies(deployment, user, 1)[0].split(",")[0] for user in users][2] == "Sorry"
        assert bodies(deployment, users[2], 1)[0].startswith("Sorry, too many people are writing")


def test_only_allowed_senders_are_served(start_deployment: StartDeployment) -> None:
    """Senders are compared by address, which need not be a phone number."""
    invited = "whatsapp:US.1234567890123456789"
    with start_deployment(ALLOWED_SENDERS=f"whatsapp:+4915550000001, {invited}") as deployment:
        stranger = deployment.user()
        for _ in range(3):
            assert deployment.twilio.say(stranger, "hello").status == 200
        deployment.twilio.say(invited, "hello")
        assert bodies(deployment, invited, 1)[0].startswith("Hello!")
        (line,) = deployment.twilio.messages(stranger)
        assert line.body.startswith(INVITED_ONLY)
        # Nobody else cost anything.
        assert len(deployment.calls("agentforce", "session")) == 1
        assert deployment.counter("messages_limited") == 3


def test_the_limit_holds_over_several_web_processes(start_cluster: StartCluster) -> None:
    with start_cluster(workers=1, SENDER_TURNS_PER_MINUTE=str(PER_MINUTE)) as (deployment, cluster):
        user = deployment.user()
        assert len(cluster.webs) > 1
        # Each goes to the next web.
        for _ in range(PER_MINUTE + 4):
            deployment.twilio.say(user, "hello")
        texts = bodies(deployment, user, PER_MINUTE + 1)
        assert sum(body.startswith("Hello!") for body in texts) == PER_MINUTE
        assert sum(body.startswith(SLOW_DOWN) for body in texts) == 1
