"""Everything a WhatsApp user can send."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from sandbox.twilio.forms import InboundForms
from tests.e2e.deployment import Deployment

Form = Mapping[str, str]
UNSUPPORTED = "Sorry, I can only read text and listen to voice notes."


@pytest.mark.parametrize(
    "build",
    [
        lambda forms, user: forms.image(user),
        lambda forms, user: forms.image(user, caption="What is this?"),
        lambda forms, user: forms.video(user),
        lambda forms, user: forms.document(user),
        lambda forms, user: forms.sticker(user),
        lambda forms, user: forms.contact(user),
    ],
    ids=["image", "image with caption", "video", "document", "sticker", "contact"],
)
def test_an_unsupported_kind_of_message_gets_one_polite_line(
    deployment: Deployment, build: Callable[[InboundForms, str], Form]
) -> None:
    """Nothing is downloaded, transcribed or asked."""
    user = deployment.user()
    assert deployment.twilio.deliver(build(deployment.twilio.forms, user)).status == 200
    assert deployment.answers(user, 1)[0].body.startswith(UNSUPPORTED)
    recorder = deployment.sandbox.recorder
    assert not recorder.calls("twilio", "media")
    assert not recorder.calls("elevenlabs", "transcribe")
    assert not deployment.asked(user)
    deployment.expect_no_more(user, 1)


def test_the_polite_line_is_in_the_language_the_sender_used_last(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.ask("شكرا", user)
    deployment.twilio.deliver(deployment.twilio.forms.image(user))
    assert deployment.answers(user, 2)[1].body.startswith("عذرًا، يمكنني قراءة النصوص")


@pytest.mark.parametrize(
    ("build", "asked"),
    [
        (lambda forms, user: forms.button(user, "Thanks"), "Thanks"),
        (lambda forms, user: forms.list_choice(user, "Tax codes"), "Tax codes"),
    ],
    ids=["button", "list"],
)
def test_a_pressed_button_is_asked_by_its_label(
    deployment: Deployment, build: Callable[[InboundForms, str], Form], asked: str
) -> None:
    user = deployment.user()
    deployment.twilio.deliver(build(deployment.twilio.forms, user))
    deployment.answers(user, 1)
    assert [question.text for question in deployment.asked(user)] == [asked]


def test_a_location_is_asked_as_text(deployment: Deployment) -> None:
    user = deployment.user()
    form = deployment.twilio.forms.location(
        user, "37.7879277", "-122.3937508", label="Twilio Inc", address="375 Beale St"
    )
    deployment.twilio.deliver(form)
    deployment.answers(user, 1)
    (question,) = deployment.asked(user)
    assert question.text.startswith("My location is Twilio Inc, 375 Beale St (37.7879277, ")


def test_a_reaction_gets_no_answer(deployment: Deployment) -> None:
    user = deployment.user()
    assert deployment.twilio.deliver(deployment.twilio.forms.reaction(user)).status == 200
    deployment.expect_no_more(user, 0)


def test_a_sender_without_a_phone_number_is_answered(deployment: Deployment) -> None:
    """Users who hide their number come as whatsapp:CC.<id>.

    docs/providers/twilio.md, "Sender addresses".
    """
    user = f"whatsapp:CO.{deployment.user()[-10:]}"
    deployment.twilio.say(user, "hello")
    assert deployment.answers(user, 1)[0].to == user


def test_text_in_any_script_reaches_the_agent_clean(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.ask("\ufeffthanks\u202e \x07🚀\r\n你好", user)
    assert [question.text for question in deployment.asked(user)] == ["thanks 🚀\n你好"]


def test_blank_text_gets_a_polite_line(deployment: Deployment) -> None:
    assert deployment.ask(" \n ").body.startswith(UNSUPPORTED)


def test_the_typing_indicator_is_shown_while_a_message_is_answered(deployment: Deployment) -> None:
    user = deployment.user()
    delivery = deployment.twilio.say(user, "hello")
    deployment.answers(user, 1)
    assert deployment.sandbox.recorder.wait_for(lambda: delivery.sid in deployment.twilio.typed)
