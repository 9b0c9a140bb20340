"""Posts a message to a service as Twilio does, and explains the response."""

from __future__ import annotations

import html
import re
import uuid
from dataclasses import dataclass

import requests

from cli.own_sentences import refusal
from core.settings import Account
from whatsapp.signed_posts import RESPONSE_SECONDS, post_signed

LIMIT: float = RESPONSE_SECONDS
# What Twilio would send to the phone at once.
_ANSWER = re.compile(r"<Message>(?:<Body>)?([^<]*)")


class NotAccepted(Exception):
    """The service did not take the message; the error's text says why, and what to do."""


@dataclass(frozen=True)
class Message:
    """A WhatsApp message: a text, or a recording as an address that holds it."""

    sender: str
    text: str = ""
    recording: str = ""

    def form(self, account: Account) -> dict[str, str]:
        """The form of Twilio's webhook, with a new random SID."""
        return {
            "MessageSid": f"{'MM' if self.recording else 'SM'}{uuid.uuid4().hex}",
            "AccountSid": account.TWILIO_ACCOUNT_SID,
            "From": self.sender,
            "To": account.TWILIO_WHATSAPP_FROM,
            "Body": self.text,
            **self._content(),
        }

    def _content(self) -> dict[str, str]:
        if not self.recording:
            return {"NumMedia": "0", "MessageType": "text"}
        return {
            "NumMedia": "1",
            "MessageType": "audio",
            "MediaContentType0": "audio/ogg",
            "MediaUrl0": self.recording,
        }


def post(message: Message, account: Account) -> str:
    """Post the message, signed; returns its SID. Raises ``NotAccepted``."""
    form = message.form(account)
    url = f"{account.PUBLIC_URL}/"
    try:
        answer = post_signed(url, form, auth_token=account.TWILIO_AUTH_TOKEN, seconds=LIMIT)
    except requests.exceptions.SSLError:
        raise NotAccepted("No response: the certificate there is not trusted.") from None
    except requests.Timeout:
        raise NotAccepted(f"No response within {LIMIT} s; Twilio would give up too.") from None
    except requests.RequestException as error:
        kind = type(error).__name__
        raise NotAccepted(f"No response: {kind}. Is the address right, and the app up?") from None
    if answer.status_code != 200 or "<Response" not in answer.text:
        raise NotAccepted(f"{answer.status_code}: {_explain(answer, url)}")
    if answered := _ANSWER.search(answer.text):
        raise NotAccepted(f"Not accepted: {refusal(html.unescape(answered[1]))}")
    return form["MessageSid"]


def _explain(answer: requests.Response, url: str) -> str:
    """Advice about a response that is not TwiML."""
    status = answer.status_code
    if status == 403:
        return (
            "refused: the signature is not the one that the service computes. The service must "
            "have\n- the same TWILIO_AUTH_TOKEN (the primary one) and TWILIO_ACCOUNT_SID as were "
            f"used here;\n- the address that was used here, {url}, as its PUBLIC_URL."
        )
    if answer.is_redirect:
        return f"redirected to {answer.headers.get('Location')}; use that address."
    if status == 413:
        return "the message is too large."
    if status >= 500:
        return "the app is not up, or fails; its log says why (heroku logs --tail)."
    return "no bridge answers there; the address must be that of Twilio's webhook."
