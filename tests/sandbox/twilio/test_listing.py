"""Message lists, the typing indicator and limits of the Twilio stand-in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from sandbox.faults import Fault, Faults
from sandbox.twilio.standin import TwilioStandIn
from tests.sandbox.bot import Bot
from tests.sandbox.twilio.account import ACCOUNT, SENDER, TOKEN, USER, send


def test_messages_are_listed_newest_first(twilio: TwilioStandIn, client: Any) -> None:
    """The list has both directions, filters by address and time, and pages."""
    for text in ("one", "two", "three"):
        twilio.say(USER, text)
    send(twilio, Body="answer")
    received = client.messages.list(to=SENDER, page_size=2)
    assert [one.body for one in received] == ["three", "two", "one"]
    assert {one.direction for one in received} == {"inbound"}
    now = datetime.now(UTC)
    assert len(client.messages.list(date_sent_after=now - timedelta(minutes=1))) == 4
    assert client.messages.list(date_sent_after=now + timedelta(minutes=1)) == []


def test_an_account_has_more_senders_than_the_bot(twilio: TwilioStandIn, client: Any) -> None:
    twilio.open_window(USER)
    twilio.send_as("whatsapp:+14155238887", USER, "offer")
    twilio.answer_by_twiml(USER, "busy")
    send(twilio, Body="answer")
    everything = client.messages.list(to=USER)
    assert [one.body for one in everything] == ["answer", "busy", "offer"]
    ours = client.messages.list(to=USER, from_=SENDER)
    assert [one.direction for one in ours] == ["outbound-api", "outbound-reply"]


def typing(twilio: TwilioStandIn, version: str, **body: Any) -> requests.Response:
    return requests.post(
        f"{twilio.url}/{version}/Indicators/Typing.json",
        auth=(ACCOUNT, TOKEN),
        timeout=5,
        **body,
    )


def test_typing_is_shown_for_an_inbound_message(twilio: TwilioStandIn, client: Any) -> None:
    """Both versions of the API accept the SID of a message that a user sent."""
    sid = twilio.say(USER, "hi").sid
    assert client.messaging.v2.typing_indicator.create(channel="whatsapp", message_id=sid).success
    body = {"channel": "WHATSAPP", "messageId": sid}
    assert typing(twilio, "v3", json=body).json() == {"success": True}
    assert twilio.typed == [sid, sid]
    assert twilio.recorder.violations == []


@pytest.mark.parametrize(
    ("version", "body"),
    [
        ("v2", {"data": {"channel": "WHATSAPP", "messageId": "{sid}"}}),
        ("v3", {"json": {"channel": "whatsapp", "messageId": "{sid}"}}),
        ("v3", {"data": {"channel": "WHATSAPP", "messageId": "{sid}"}}),
        ("v3", {"json": {"channel": "WHATSAPP", "messageId": "{sid}", "to": USER}}),
        ("v2", {"data": {"channel": "whatsapp"}}),
        ("v2", {"data": {"channel": "whatsapp", "messageId": "test123"}}),
        ("v2", {"data": {"channel": "whatsapp", "messageId": "SM" + "0" * 32}}),
    ],
)
def test_wrong_typing_calls_are_refused(
    twilio: TwilioStandIn, version: str, body: dict[str, dict[str, str]]
) -> None:
    """A wrong channel, format or message is refused, and a violation."""
    sid = twilio.say(USER, "hi").sid
    filled = {
        way: {name: value.replace("{sid}", sid) for name, value in fields.items()}
        for way, fields in body.items()
    }
    assert typing(twilio, version, **filled).status_code == 400
    assert (len(twilio.recorder.violations), twilio.typed) == (1, [])


def test_calls_above_the_concurrency_limit_get_20429(twilio: TwilioStandIn, faults: Faults) -> None:
    """A refused message is not accepted."""
    twilio.open_window(USER)
    twilio.concurrency = 1
    faults.add(Fault("twilio", "send", "hang", seconds=0.5))
    with ThreadPoolExecutor() as pool:
        first = pool.submit(send, twilio, Body="first")
        twilio.recorder.wait_for(lambda: twilio.recorder.calls("twilio", "send"))
        surplus = send(twilio, Body="surplus")
        assert first.result().status_code == 201
    assert (surplus.status_code, surplus.json()["code"]) == (429, 20429)
    assert send(twilio, Body="third").status_code == 201
    assert [message.body for message in twilio.messages(USER)] == ["first", "third"]


def test_two_hundred_messages_at_once(twilio: TwilioStandIn, bot: Bot, note: bytes) -> None:
    """A burst of voice notes is accepted, fetched and delivered without loss."""
    twilio.say(USER, "hi")
    urls = [bot.publish(note) for _ in range(200)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda url: send(twilio, MediaUrl=url).status_code, urls))
    assert answers == [201] * 200
    twilio.wait_for_voice(USER, 20, count=200)
    assert twilio.recorder.violations == []
