"""Reads the set-up of the Twilio account: docs/providers/twilio.md, "Account and senders"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from core.settings import Settings
from http_clients.sessions import requests_session
from whatsapp.client import build_client, call_sdk
from whatsapp.inbound import CHANNEL

TIMEOUT_SECONDS = 10.0
# The sandbox's number, which all accounts share. There is no API for its settings.
SANDBOX = "whatsapp:+14155238886"
PAGE_LIMIT = 200
RECENT_MESSAGES = 20
RECENT = timedelta(days=1)


@dataclass(frozen=True)
class AccountStatus:
    """``status`` is ``active``, ``suspended`` or ``closed``; a trial account is limited."""

    status: str
    is_trial: bool


@dataclass(frozen=True)
class Sender:
    """A WhatsApp sender with its webhook for messages; ``url`` is empty if there is none."""

    address: str
    status: str
    url: str
    method: str

    @property
    def is_online(self) -> bool:
        return self.status.startswith("ONLINE")


class TwilioAccount:
    """All methods read only, and raise ``SendError``."""

    def __init__(self, settings: Settings) -> None:
        session = requests_session(settings, connections=1)
        self._sender = settings.TWILIO_WHATSAPP_FROM
        self._sid = settings.TWILIO_ACCOUNT_SID
        self._client = build_client(settings, TIMEOUT_SECONDS, session)

    def fetch(self) -> AccountStatus:
        """The account itself, which tells whether its SID and token are right."""
        account = call_sdk(lambda: self._client.api.v2010.accounts(self._sid).fetch())
        return AccountStatus(str(account.status or ""), account.type == "Trial")

    def senders(self) -> list[Sender]:
        """The WhatsApp senders of the account, without the sandbox."""
        resource = self._client.messaging.v2.channels_senders
        found = call_sdk(lambda: resource.list(channel="whatsapp", limit=PAGE_LIMIT))
        return [_sender(each.sender_id, each.status, each.webhook) for each in found]

    def numbers_with(self, url: str) -> int:
        """How many phone numbers of the account have this address as the webhook for SMS."""
        resource = self._client.api.v2010.account.incoming_phone_numbers
        found = call_sdk(lambda: resource.list(limit=PAGE_LIMIT))
        return sum((number.sms_url or "").rstrip("/") == url.rstrip("/") for number in found)

    def recent_results(self) -> list[int | None]:
        """Of the last messages that we sent, Twilio's codes of the errors; ``None`` is no error.

        Older ones than ``RECENT`` say nothing about what works now.
        """
        since = datetime.now(UTC) - RECENT
        recent = partial(
            self._client.messages.list,
            from_=self._sender,
            date_sent_after=since,
            limit=RECENT_MESSAGES,
        )
        sent = call_sdk(recent)
        return [message.error_code or None for message in sent]


def _sender(sender_id: str, status: object, webhook: object) -> Sender:
    address = sender_id if sender_id.startswith(CHANNEL) else f"{CHANNEL}{sender_id}"
    known: Mapping[str, Any] = webhook if isinstance(webhook, Mapping) else {}
    method = str(known.get("callback_method") or "POST")
    return Sender(address, str(status or ""), str(known.get("callback_url") or ""), method)
