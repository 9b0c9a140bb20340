"""Inbound messages of the Twilio stand-in."""

from __future__ import annotations

import pytest
from flask import Response
from twilio.request_validator import RequestValidator

from sandbox.twilio.standin import TwilioStandIn
from sandbox.twilio.webhook import Fields, sign
from tests.sandbox.bot import Bot
from tests.sandbox.twilio.account import TOKEN, USER, rules, send, wait_for_status


def test_signature_agrees_with_published_vectors() -> None:
    """The signature is right for Twilio's own test vectors.

    docs/providers/twilio.md, "Signatures".
    """
    form = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675310",
        "Digits": "1234",
        "From": "+14158675310",
        "To": "+18005551212",
    }
    url = "https://example.com/myapp.php?foo=1&bar=2"
    assert sign(f"{url}#rc=2", form, "12345") == "L/OH5YylLD5NRKLltdqwSvS0BnU="
    repeated: Fields = {
        "Sid": "CA123",
        "SidAccount": "AC123",
        "Digits": ["5678", "1234", "1234"],
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert sign(url, repeated, "12345") == "IK+Dwps556ElfBT0I3Rgjkr1wJU="


def test_a_text_reaches_the_webhook_as_twilio_sends_it(twilio: TwilioStandIn, bot: Bot) -> None:
    """A text arrives with every field, the usual headers, and a signature the SDK accepts."""
    twilio.public_webhook_url = "https://bot.example.com/"
    delivery = twilio.say(USER, "Hi & bye +1 ñ\nline2 ")
    form, headers = bot.received[0], bot.headers[0]
    assert (delivery.status, delivery.sid) == (200, form["MessageSid"])
    assert len(form) == 17
    assert form["Body"] == "Hi & bye +1 ñ\nline2 "
    assert headers["User-Agent"] == "TwilioProxy/1.1"
    validator = RequestValidator(TOKEN)
    assert validator.validate("https://bot.example.com/", form, headers["X-Twilio-Signature"])
    assert twilio.recorder.violations == []


@pytest.mark.parametrize(
    ("kind", "arguments", "message_type", "expected"),
    [
        ("image", (), "image", {"NumMedia": "1", "MediaContentType0": "image/jpeg"}),
        ("document", (), "document", {"Body": "invoice.pdf"}),
        ("sticker", (), "sticker", {"MediaContentType0": "image/webp"}),
        ("video", (), "video", {"MediaContentType0": "video/mp4"}),
        ("contact", (), "contacts", {"MediaContentType0": "text/vcard", "Body": ""}),
        ("location", (), "location", {"Latitude": "37.7879277", "NumMedia": "0", "Body": ""}),
        ("button", ("Confirm",), "interactive", {"Body": "Confirm", "ButtonText": "Confirm"}),
        ("list_choice", ("Row",), "interactive", {"Body": "Row", "ListTitle": "Row"}),
        ("reaction", (), "reaction", {"Body": "", "NumMedia": "0"}),
    ],
)
def test_every_kind_of_message_can_be_sent(
    twilio: TwilioStandIn,
    bot: Bot,
    kind: str,
    arguments: tuple[str, ...],
    message_type: str,
    expected: dict[str, str],
) -> None:
    """Each kind of message arrives with its type and its own fields."""
    form = getattr(twilio.forms, kind)(USER, *arguments)
    assert twilio.deliver(form).status == 200
    assert bot.received[0]["MessageType"] == message_type
    assert expected.items() <= bot.received[0].items()
    assert form["MessageSid"].startswith("MM" if form["NumMedia"] == "1" else "SM")


def test_a_user_who_hides_the_number_has_none(twilio: TwilioStandIn, bot: Bot) -> None:
    """A business-scoped user arrives without WaId, and can be answered."""
    user = "whatsapp:US.13491208655302741918"
    twilio.say(user, "hi")
    assert bot.received[0]["From"] == user
    assert "WaId" not in bot.received[0]
    assert send(twilio, To=user, Body="hello").status_code == 201


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response("<Response/>", 500, content_type="text/xml"), "11200"),
        (Response("<Response>", content_type="text/xml"), "12100"),
        (Response("", content_type="text/xml"), "12100"),
        (Response("<Answer/>", content_type="text/xml"), "12100"),
        (Response("{}", content_type="application/json"), "12300"),
        (Response("<Response/>", content_type="text/html"), "12300"),
        (Response(f"<Response>{' ' * 65536}</Response>", content_type="text/xml"), "11750"),
        (
            Response("<Response><Message><Body/></Message></Response>", content_type="text/xml"),
            "14103",
        ),
        (
            Response("<Response/>", content_type="text/xml", headers={"Set-Cookie": "a=b"}),
            "the webhook sets a cookie",
        ),
        (Response("OK", content_type="text/plain"), "text/plain is sent to the user"),
    ],
)
def test_wrong_answers_of_the_webhook_are_violations(
    twilio: TwilioStandIn, bot: Bot, answer: Response, error: str
) -> None:
    """Errors that Twilio would log are recorded as violations."""
    bot.answer = answer
    twilio.say(USER, "hi")
    assert [rule.startswith(error) for rule in rules(twilio.recorder)] == [True]


def test_a_late_answer_is_a_violation(twilio: TwilioStandIn, bot: Bot) -> None:
    """The webhook times out, and the violation is recorded."""
    bot.may_answer.clear()
    assert twilio.deliver(twilio.forms.text(USER, "hi"), timeout=0.2).status == 0
    bot.may_answer.set()
    assert rules(twilio.recorder) == ["11205 total timeout triggered: no answer within 0.2 s"]


def test_a_bot_that_is_down_is_no_violation(twilio: TwilioStandIn, bot: Bot) -> None:
    """A refused connection gives status 0 and no violation."""
    bot.stop()
    assert twilio.say(USER, "hi").status == 0
    assert twilio.recorder.violations == []


def test_twiml_messages_are_sent(twilio: TwilioStandIn, bot: Bot) -> None:
    """A text in the TwiML reaches the user."""
    twiml = "<Response><Message><Body>a</Body></Message><Message>b</Message></Response>"
    bot.answer = Response(twiml, content_type="application/xml")
    twilio.say(USER, "hi")
    sent = twilio.wait_for_messages(USER, 2)
    assert [(one.body, one.direction) for one in sent] == [
        ("a", "outbound-reply"),
        ("b", "outbound-reply"),
    ]


def test_unsigned_messages_are_not_treated_as_twilios(twilio: TwilioStandIn, bot: Bot) -> None:
    """An unsigned post has no signature and opens no window, and its refusal is no violation."""
    bot.answer = Response(status=403)
    form = twilio.forms.text(USER, "hi")
    assert twilio.deliver(form, signed=False).status == 403
    assert "X-Twilio-Signature" not in bot.headers[0]
    assert twilio.recorder.violations == []
    sid = send(twilio, Body="x").json()["sid"]
    assert wait_for_status(twilio, sid, "undelivered").error_code == 63016
