"""Texts that are sent by the Twilio stand-in."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from sandbox.faults import Fault, Faults
from sandbox.twilio.content import Choice, Content
from sandbox.twilio.standin import TwilioStandIn
from tests.sandbox.bot import Bot
from tests.sandbox.twilio.account import ACCOUNT, SENDER, USER, rules, send, wait_for_status


def test_a_text_is_accepted_and_delivered(twilio: TwilioStandIn, client: Any) -> None:
    """The SDK's create gives a queued message that is delivered shortly after."""
    twilio.say(USER, "hi")
    created = client.messages.create(to=USER, from_=SENDER, body="*hello*\n\n- one\n- two")
    assert (created.status, created.direction, created.num_media) == (
        "queued",
        "outbound-api",
        "0",
    )
    assert wait_for_status(twilio, created.sid, "delivered").body.startswith("*hello*")
    assert client.messages(created.sid).fetch().status == "delivered"
    assert twilio.recorder.violations == []


def test_a_template_is_sent_by_its_sid(twilio: TwilioStandIn) -> None:
    """Its text and buttons reach the user, also outside the 24-hour window."""
    content = Content("Cancel it?", buttons=(Choice("y", "Yes"), Choice("n", "No")))
    twilio.contents["HX1"] = content
    sid = send(twilio, ContentSid="HX1").json()["sid"]
    message = wait_for_status(twilio, sid, "delivered")
    assert (message.body, message.content) == ("Cancel it?", content)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"To": "", "Body": "x"}, 21604),
        ({"To": "+14155550100", "Body": "x"}, 21211),
        ({"To": "whatsapp:14155550100", "Body": "x"}, 21211),
        ({"From": "", "Body": "x"}, 21603),
        ({"From": "whatsapp:+15550000000", "Body": "x"}, 63007),
        ({"Body": ""}, 21602),
        ({"Body": " \n"}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"Body": "🚀" * 801}, 21617),
        ({"MediaUrl": "not an address"}, 21620),
        ({"MediaUrl": ["http://a.example/x"] * 11}, 21623),
        ({"Body": "x", "StatusCallback": "/status"}, 21609),
    ],
)
def test_wrong_messages_are_refused(
    twilio: TwilioStandIn, fields: dict[str, Any], code: int
) -> None:
    """The error has Twilio's code and format, and is recorded as a violation."""
    answer = send(twilio, **fields)
    error = answer.json()
    assert (answer.status_code, error["code"], error["status"]) == (400, code, 400)
    assert error["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
    assert str(code) in " ".join(rules(twilio.recorder))
    assert twilio.messages() == []


def test_the_longest_text_is_accepted(twilio: TwilioStandIn) -> None:
    """Exactly 1600 characters are not too many."""
    twilio.say(USER, "hi")
    assert send(twilio, Body="x" * 1600).status_code == 201
    assert twilio.recorder.violations == []


def test_wrong_credentials_are_an_sdk_error(twilio: TwilioStandIn) -> None:
    """The SDK raises its usual exception for a wrong token."""
    client = Client(ACCOUNT, "wrong")
    client.api.base_url = twilio.url
    with pytest.raises(TwilioRestException) as raised:
        client.messages.create(to=USER, from_=SENDER, body="x")
    assert (raised.value.status, raised.value.code) == (401, 20003)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"Body": "a\x07b"}, "control characters in the text: U+0007"),
        ({"Body": "\ufeffa"}, "control characters in the text: U+FEFF"),
        ({"Body": "**bold**"}, "Markdown left in the text: bold"),
        ({"Body": "[a](https://example.com)"}, "Markdown left in the text: link"),
        ({"Body": "## Steps"}, "Markdown left in the text: heading"),
        ({"Body": "| a | b |"}, "Markdown left in the text: table"),
        ({"Body": "a", "body": "b"}, "unknown parameter body"),
    ],
)
def test_texts_with_display_problems_are_violations(
    twilio: TwilioStandIn, fields: dict[str, str], rule: str
) -> None:
    """A text that users could not read well is accepted, but is a violation."""
    twilio.say(USER, "hi")
    assert send(twilio, **fields).status_code == 201
    assert rules(twilio.recorder) == [rule]


@pytest.mark.parametrize("body", ["2 ** 3", "`**x**`", "```\n# a\n| b |\n```", "1 | 2", "#1 ~ 2"])
def test_code_and_arithmetic_are_not_mistaken_for_markdown(
    twilio: TwilioStandIn, body: str
) -> None:
    twilio.say(USER, "hi")
    assert send(twilio, Body=body).status_code == 201
    assert twilio.recorder.violations == []


def test_outside_the_window_nothing_is_delivered(twilio: TwilioStandIn, bot: Bot) -> None:
    """A message to a user who has not written for a day is accepted, then undelivered."""
    twilio.say(USER, "hi")
    twilio.close_window(USER)
    sid = send(twilio, Body="x", StatusCallback=f"{bot.url}/status").json()["sid"]
    assert wait_for_status(twilio, sid, "undelivered").error_code == 63016
    twilio.recorder.wait_for(lambda: bot.callbacks, 5)
    assert (bot.callbacks[0]["MessageStatus"], bot.callbacks[0]["ErrorCode"]) == (
        "undelivered",
        "63016",
    )
    assert rules(twilio.recorder) == ["outside the 24 h window of the user's last message"]


def test_injected_errors_have_twilios_format(
    twilio: TwilioStandIn, client: Any, faults: Faults
) -> None:
    """A 429 has the code that Twilio documents."""
    faults.add(Fault("twilio", "send", status=429))
    with pytest.raises(TwilioRestException) as raised:
        client.messages.create(to=USER, from_=SENDER, body="x")
    assert (raised.value.status, raised.value.code) == (429, 20429)


def test_a_message_whose_answer_was_lost_is_delivered(
    twilio: TwilioStandIn, faults: Faults
) -> None:
    twilio.say(USER, "hi")
    faults.add(Fault("twilio", "send", "vanish"))
    with pytest.raises(requests.ConnectionError):
        send(twilio, Body="x")
    assert len(twilio.messages(USER)) == 1
