"""Everything a WhatsApp user can send."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from sandbox.twilio.forms import InboundForms
from tests.e2e.world import World

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
def test_what_the_agent_cannot_use_gets_one_polite_line(
    world: World, build: Callable[[InboundForms, str], Form]
) -> None:
    """Nothing is downloaded, transcribed or asked."""
    user = world.user()
    assert world.twilio.deliver(build(world.twilio.forms, user)).status == 200
    assert world.answers(user, 1)[0].body.startswith(UNSUPPORTED)
    ledger = world.sandbox.ledger
    assert not ledger.calls("twilio", "media")
    assert not ledger.calls("elevenlabs", "transcribe")
    assert not world.asked(user)
    world.expect_no_more(user, 1)


def test_the_polite_line_is_in_the_language_the_sender_used_last(world: World) -> None:
    user = world.user()
    world.twilio.say(user, "شكرا")
    world.answers(user, 1)
    world.twilio.deliver(world.twilio.forms.image(user))
    assert world.answers(user, 2)[1].body.startswith("عذرًا، يمكنني قراءة النصوص")


@pytest.mark.parametrize(
    ("build", "asked"),
    [
        (lambda forms, user: forms.button(user, "Thanks"), "Thanks"),
        (lambda forms, user: forms.list_choice(user, "Tax codes"), "Tax codes"),
    ],
    ids=["button", "list"],
)
def test_a_choice_is_asked_in_its_words(
    world: World, build: Callable[[InboundForms, str], Form], asked: str
) -> None:
    user = world.user()
    world.twilio.deliver(build(world.twilio.forms, user))
    world.answers(user, 1)
    assert [question.text for question in world.asked(user)] == [asked]


def test_a_location_is_asked_as_text(world: World) -> None:
    user = world.user()
    form = world.twilio.forms.location(
        user, "37.7879277", "-122.3937508", label="Twilio Inc", address="375 Beale St"
    )
    world.twilio.deliver(form)
    world.answers(user, 1)
    (question,) = world.asked(user)
    assert question.text.startswith("My location is Twilio Inc, 375 Beale St (37.7879277, ")


def test_a_reaction_is_answered_with_nothing(world: World) -> None:
    user = world.user()
    assert world.twilio.deliver(world.twilio.forms.reaction(user)).status == 200
    world.expect_no_more(user, 0)


def test_a_sender_without_a_phone_number_is_answered(world: World) -> None:
    """Users who hide their number come as whatsapp:CC.<id>.

    docs/providers/twilio.md, "Sender addresses".
    """
    user = f"whatsapp:CO.{world.user()[-10:]}"
    world.twilio.say(user, "hello")
    assert world.answers(user, 1)[0].to == user


def test_text_in_any_script_reaches_the_agent_clean(world: World) -> None:
    user = world.user()
    world.twilio.say(user, "\ufeffthanks\u202e \x07🚀\r\n你好")
    world.answers(user, 1)
    assert [question.text for question in world.asked(user)] == ["thanks 🚀\n你好"]


def test_blank_text_gets_a_polite_line(world: World) -> None:
    user = world.user()
    world.twilio.say(user, " \n ")
    assert world.answers(user, 1)[0].body.startswith(UNSUPPORTED)


def test_the_typing_indicator_is_shown_for_what_is_answered(world: World) -> None:
    user = world.user()
    delivery = world.twilio.say(user, "hello")
    world.answers(user, 1)
    assert world.sandbox.ledger.wait_for(lambda: delivery.sid in world.twilio.typed)
