"""The kinds of messages that a WhatsApp user can send."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from sandbox.twilio.forms import InboundForms
from tests.e2e.deployment import Deployment
from text.phrases import Phrases

Form = Mapping[str, str]
UNSUPPORTED = "Sorry, I can only read text and listen to voice notes."
PHRASES = Phrases()


@pytest.mark.parametrize(
    "build",
    [
        lambda forms, user: forms.image(user),
        lambda forms, user: forms.video(user),
        lambda forms, user: forms.document(user),
        lambda forms, user: forms.sticker(user),
        lambda forms, user: forms.contact(user),
    ],
    ids=["image", "video", "document", "sticker", "contact"],
)
def test_what_the_agent_cannot_use_gets_one_polite_line(
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


@pytest.mark.parametrize(
    "build",
    [
        lambda forms, user, caption: forms.image(user, caption=caption),
        lambda forms, user, caption: forms.video(user, caption=caption),
        lambda forms, user, caption: forms.document(user, name=caption),
    ],
    ids=["image", "video", "document"],
)
@pytest.mark.parametrize(
    ("caption", "language"), [("What is this invoice?", "en"), ("ما هذه الفاتورة؟", "ar")]
)
def test_a_caption_is_asked_and_the_agent_is_told_of_the_file(
    deployment: Deployment,
    build: Callable[[InboundForms, str, str], Form],
    caption: str,
    language: str,
) -> None:
    """In the language of the caption; the file itself is not downloaded."""
    user = deployment.user()
    deployment.twilio.deliver(build(deployment.twilio.forms, user, caption))
    deployment.answers(user, 1)
    (question,) = deployment.asked(user)
    assert question.text == f"{PHRASES.translate('file_unseen', language)}\n{caption}"
    assert not deployment.sandbox.recorder.calls("twilio", "media")
    deployment.expect_no_more(user, 1)


@pytest.mark.parametrize(
    "fields",
    [
        *({"MessageType": kind} for kind in ("audio", "image", "video", "document", "location")),
        {"MessageType": "unsupported"},
        {"MessageType": "document", "Body": "invoice.pdf"},
        {"MessageType": "audio", "NumMedia": "1", "MediaContentType0": "audio/ogg"},
    ],
    ids=lambda fields: "-".join(fields.values()),
)
def test_a_message_whose_content_is_missing_gets_one_polite_line(
    deployment: Deployment, fields: dict[str, str]
) -> None:
    user = deployment.user()
    deployment.twilio.deliver(deployment.twilio.forms.text(user, "") | fields)
    assert deployment.answers(user, 1)[0].body == PHRASES.translate("media_gone", "en")
    assert not deployment.asked(user)
    deployment.expect_no_more(user, 1)


def test_the_polite_line_is_in_the_language_the_sender_used_last(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.say(user, "شكرا")
    deployment.answers(user, 1)
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
def test_a_choice_is_asked_in_its_words(
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


@pytest.mark.parametrize("kind", ["reaction", "poll_update", "message_edit"])
def test_a_reaction_or_an_unknown_empty_type_is_answered_with_nothing(
    deployment: Deployment, kind: str
) -> None:
    user = deployment.user()
    form = deployment.twilio.forms.reaction(user) | {"MessageType": kind}
    assert deployment.twilio.deliver(form).status == 200
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
    deployment.twilio.say(user, "\ufeffthanks\u202e \x07🚀\r\n你好")
    deployment.answers(user, 1)
    assert [question.text for question in deployment.asked(user)] == ["thanks 🚀\n你好"]


def test_blank_text_gets_a_polite_line(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.say(user, " \n ")
    assert deployment.answers(user, 1)[0].body.startswith(UNSUPPORTED)


def test_the_typing_indicator_is_shown_for_what_is_answered(deployment: Deployment) -> None:
    user = deployment.user()
    delivery = deployment.twilio.say(user, "hello")
    deployment.answers(user, 1)
    assert deployment.sandbox.recorder.wait_for(lambda: delivery.sid in deployment.twilio.typed)
