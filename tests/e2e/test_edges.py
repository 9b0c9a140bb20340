"""Who somebody is and where to answer, messages of other channels, and handing over to a person."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.logs import hash_sender
from sandbox.faults import Fault
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment
from text.phrases import Phrases

EMPTY_TWIML = "<Response/>"
OTHER_CHANNEL = "The webhook is set on a number that is no WhatsApp sender"
PHRASES = Phrases()


def hidden(deployment: Deployment, user: str) -> str:
    """The address of a user who hides the phone number."""
    return deployment.twilio.forms.text(user, "")["ExternalUserId"]


def say_hidden(deployment: Deployment, user: str, text: str) -> str:
    """The user writes with the phone number hidden; returns the SID of the message."""
    form = deployment.twilio.forms.text(user, text) | {"From": hidden(deployment, user)}
    del form["WaId"]
    delivery = deployment.twilio.deliver(form)
    assert delivery.status == 200
    return delivery.sid


def test_a_user_who_hides_the_number_keeps_the_session(deployment: Deployment) -> None:
    """Each message is answered at the address that it came from."""
    user = deployment.user()
    deployment.twilio.say(user, "hello")
    assert deployment.answers(user, 1)[0].to == user
    say_hidden(deployment, user, "hello")
    assert deployment.answers(hidden(deployment, user), 1)[0].body.startswith("Hello")
    deployment.twilio.say(user, "hello")
    deployment.answers(user, 2)
    assert len({question.session_id for question in deployment.asked(user)}) == 1
    assert len(deployment.asked(user)) == 3


def test_a_user_who_hides_the_number_keeps_the_preferences(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.say(user, "إيقاف الصوت")
    deployment.answers(user, 1)
    address = hidden(deployment, user)
    deployment.twilio.deliver(
        deployment.twilio.forms.image(user) | {"From": address, "WaId": "", "Body": ""}
    )
    (line,) = deployment.answers(address, 1)
    assert line.body == PHRASES.translate("unsupported", "ar")
    deployment.twilio.deliver(
        deployment.twilio.forms.voice(user, deployment.note("Which tax codes are there?"))
        | {"From": address}
    )
    deployment.answers(address, 2)
    # The voice note would come before the next answer.
    say_hidden(deployment, user, "thanks")
    assert not any(message.media_url for message in deployment.answers(address, 3))


def test_a_users_messages_are_answered_in_order_from_both_addresses(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.sandbox.faults.add(Fault("agentforce", "ask", "hang", seconds=1.0))
    deployment.twilio.say(user, "hello")
    say_hidden(deployment, user, "thanks")
    (thanks,) = deployment.answers(hidden(deployment, user), 1)
    (hello,) = deployment.twilio.messages(user)
    everything = deployment.twilio.messages()
    assert everything.index(hello) < everything.index(thanks)
    assert [question.text for question in deployment.asked(user)] == ["hello", "thanks"]


def test_the_log_names_a_user_by_one_hash_and_by_no_address(deployment: Deployment) -> None:
    user = deployment.user()
    first = deployment.twilio.say(user, "hello").sid
    deployment.answers(user, 1)
    second = say_hidden(deployment, user, "hello")
    deployment.answers(hidden(deployment, user), 1)
    key = deployment.bridge.settings["TWILIO_AUTH_TOKEN"]
    known_as = hash_sender(hidden(deployment, user), key=key)
    for sid in (first, second):
        lines = [line for line in deployment.log().splitlines() if sid in line]
        assert lines
        assert all(known_as in line for line in lines if "sender=" in line)
    assert hidden(deployment, user).removeprefix("whatsapp:") not in deployment.log()


def test_a_users_quota_counts_both_addresses(start_deployment: StartDeployment) -> None:
    with start_deployment(SENDER_TURNS_PER_DAY="2") as deployment:
        user = deployment.user()
        deployment.twilio.say(user, "hello")
        say_hidden(deployment, user, "hello")
        deployment.answers(hidden(deployment, user), 1)
        deployment.twilio.say(user, "hello")
        greeting, refusal = deployment.answers(user, 2)
        assert greeting.body.startswith("Hello")
        assert refusal.body == PHRASES.translate("limit_day", "en")


@pytest.mark.parametrize("listed", ["number", "user id"])
def test_a_user_is_invited_by_number_or_user_id(
    start_deployment: StartDeployment, listed: str
) -> None:
    """By the number only while it is shown."""
    user = "whatsapp:+14155559876"
    with start_deployment() as any_deployment:
        user_id = hidden(any_deployment, user)
    invited = user if listed == "number" else user_id
    with start_deployment(ALLOWED_SENDERS=invited) as deployment:
        deployment.twilio.say(user, "hello")
        assert deployment.answers(user, 1)[0].body.startswith("Hello")
        say_hidden(deployment, user, "hello")
        answer = deployment.answers(user_id, 1)[0].body
        not_allowed = PHRASES.translate("not_allowed", "en")
        assert answer == not_allowed if listed == "number" else answer.startswith("Hello")


@pytest.mark.parametrize(
    "sender", ["+14155550111", "12345", "messenger:4155550111", "rcs:+14155550111", "ACME"]
)
def test_a_message_of_another_channel_is_answered_with_nothing_and_not_asked(
    deployment: Deployment, sender: str
) -> None:
    form = deployment.twilio.forms.text("whatsapp:+14155550111", "hello")
    delivery = deployment.twilio.deliver(form | {"From": sender})
    assert (delivery.status, EMPTY_TWIML in delivery.body) == (200, True)
    # Turns begin in the order in which they came.
    user = deployment.user()
    deployment.twilio.say(user, "hello")
    deployment.answers(user, 1)
    assert len(deployment.asked(user)) == 1
    assert not deployment.twilio.messages(sender)


def test_a_message_to_another_sender_of_ours_is_not_asked_and_the_log_says_why(
    deployment: Deployment,
) -> None:
    """Twilio would not deliver the answer: the user has not written to TWILIO_WHATSAPP_FROM."""
    user = deployment.user()
    form = deployment.twilio.forms.text(user, "hello")
    delivery = deployment.twilio.deliver(form | {"To": "whatsapp:+14155550199"})
    assert (delivery.status, EMPTY_TWIML in delivery.body) == (200, True)
    assert "a WhatsApp sender other than TWILIO_WHATSAPP_FROM" in deployment.log()
    # The next one is asked alone.
    deployment.twilio.say(user, "hello")
    deployment.answers(user, 1)
    assert len(deployment.asked(user)) == 1


def test_messages_of_another_channel_are_one_log_line(start_deployment: StartDeployment) -> None:
    with start_deployment() as deployment:
        for _ in range(5):
            form = deployment.twilio.forms.text("whatsapp:+14155550111", "hello")
            deployment.twilio.deliver(form | {"From": "+14155550111"})
        assert deployment.log().count(OTHER_CHANNEL) == 1
        assert deployment.counter("messages_refused") == 5


CONTACTS = [
    "+1 (415) 555-0100",
    "first_last_name@acme.com",
    "https://acme.com/contact_us_now?a=*b*",
]


@pytest.fixture(params=CONTACTS)
def contact(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def test_a_handover_names_the_contact(start_deployment: StartDeployment, contact: str) -> None:
    """As it was set, without marks of Markdown being read into it."""
    with start_deployment(HANDOFF_CONTACT=contact) as deployment:
        user = deployment.user()
        deployment.twilio.say(user, "I want to talk to a human")
        (answer,) = deployment.answers(user, 1)
        assert PHRASES.translate("escalated_contact", "en", contact=contact) in answer.body
        assert deployment.counter("escalations") == 1
        assert "Agent hands over to a person" in deployment.log()


def test_a_handover_without_a_contact_names_none(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.say(user, "I want to talk to a human")
    (answer,) = deployment.answers(user, 1)
    assert PHRASES.translate("escalated", "en") in answer.body
    assert "contact our team:" not in answer.body
