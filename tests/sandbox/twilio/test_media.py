"""The media of the Twilio stand-in."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from sandbox.twilio.media import Ready
from sandbox.twilio.standin import TwilioStandIn
from tests.sandbox.bot import Bot
from tests.sandbox.twilio.account import ACCOUNT, TOKEN, USER, rules


def media(twilio: TwilioStandIn, bot: Bot, audio: bytes = b"OggS", **options: Any) -> str:
    twilio.speak(USER, audio, **options)
    return bot.received[-1]["MediaUrl0"]


def test_a_recording_is_fetched_over_two_hosts(
    twilio: TwilioStandIn, bot: Bot, note: bytes
) -> None:
    """With credentials the API redirects to another host, which needs no credentials."""
    url = media(twilio, bot, note)
    hop = requests.get(url, auth=(ACCOUNT, TOKEN), allow_redirects=False, timeout=5)
    assert hop.status_code == 307
    assert hop.headers["Location"].startswith(f"http://localhost:{twilio.cdn.port}/{ACCOUNT}/")
    answer = requests.get(url, auth=(ACCOUNT, TOKEN), timeout=5)
    assert (answer.content, answer.headers["Content-Type"]) == (note, "audio/ogg")
    assert twilio.recorder.violations == []


@pytest.mark.parametrize("auth", [None, (ACCOUNT, "wrong"), ("SK1", TOKEN)])
def test_recordings_need_credentials(
    twilio: TwilioStandIn, bot: Bot, auth: tuple[str, str] | None
) -> None:
    """Without the account's credentials there is no recording, only Twilio's 20003."""
    answer = requests.get(media(twilio, bot), auth=auth, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (401, 20003)
    assert rules(twilio.recorder) == ["missing or wrong credentials"]


def test_the_cdn_refuses_credentials(twilio: TwilioStandIn, bot: Bot) -> None:
    """Credentials that are sent after the redirect are refused, and a violation."""
    url = media(twilio, bot)
    hop = requests.get(url, auth=(ACCOUNT, TOKEN), allow_redirects=False, timeout=5)
    leak = requests.get(hop.headers["Location"], auth=(ACCOUNT, TOKEN), timeout=5)
    assert leak.status_code == 400
    assert rules(twilio.recorder) == ["credentials were sent to the CDN host"]


def test_cdn_urls_expire_and_cannot_be_forged(twilio: TwilioStandIn, bot: Bot) -> None:
    """A CDN URL works only with its signature, and for a limited time."""
    url = media(twilio, bot)
    twilio.cdn.signed_seconds = -1
    assert requests.get(url, auth=(ACCOUNT, TOKEN), timeout=5).status_code == 403
    twilio.cdn.signed_seconds = 60
    hop = requests.get(url, auth=(ACCOUNT, TOKEN), allow_redirects=False, timeout=5)
    changed = hop.headers["Location"].replace("Expires=", "Expires=9")
    assert requests.get(changed, timeout=5).status_code == 403


def test_a_recording_may_not_be_ready_yet(twilio: TwilioStandIn, bot: Bot) -> None:
    """The first requests for it get 404, as the voice note says."""
    url = media(twilio, bot, not_ready=Ready(calls=2))
    status = [requests.get(url, auth=(ACCOUNT, TOKEN), timeout=5).status_code for _ in range(3)]
    assert status == [404, 404, 200]
    later = media(twilio, bot, not_ready=Ready(seconds=60))
    assert requests.get(later, auth=(ACCOUNT, TOKEN), timeout=5).status_code == 404


def test_a_recording_can_be_deleted(twilio: TwilioStandIn, bot: Bot, client: Any) -> None:
    """Media are listed until they are deleted."""
    url = media(twilio, bot)
    sid = bot.received[-1]["MessageSid"]
    found = client.messages(sid).media.list()
    assert [(one.content_type, one.parent_sid) for one in found] == [("audio/ogg", sid)]
    assert client.messages(sid).media(found[0].sid).delete()
    assert requests.get(url, auth=(ACCOUNT, TOKEN), timeout=5).status_code == 404
