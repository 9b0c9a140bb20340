"""What an administrator sets in Twilio's console (docs/providers/twilio.md, "Account and senders").

The REST API only reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class SenderSettings:
    """A WhatsApp sender; ``url`` and ``method`` are those of its webhook for messages."""

    address: str
    url: str
    method: str = "POST"
    status: str = "ONLINE"

    def resource(self) -> dict[str, Any]:
        return {
            "sid": f"XE{'5a' * 16}",
            "status": self.status,
            "sender_id": self.address,
            "configuration": {"waba_id": "1234567890", "verification_method": None},
            "webhook": {
                "callback_url": self.url,
                "callback_method": self.method,
                "fallback_url": None,
                "fallback_method": None,
                "status_callback_url": None,
                "status_callback_method": None,
            },
            "offline_reasons": None,
            "url": f"https://messaging.twilio.com/v2/Channels/Senders/XE{'5a' * 16}",
        }


@dataclass
class Console:
    """May be changed at any time.

    ``senders`` is None as long as there is just the stand-in's own, with the webhook to which it
    posts. ``sms_urls`` are the webhooks of phone numbers for SMS.
    """

    account_status: str = "active"
    account_type: str = "Full"
    senders: list[SenderSettings] | None = None
    sms_urls: list[str] = field(default_factory=list)

    def account(self, sid: str) -> dict[str, Any]:
        return {
            "sid": sid,
            "friendly_name": "Sandbox",
            "status": self.account_status,
            "type": self.account_type,
            "owner_account_sid": sid,
            "uri": f"/2010-04-01/Accounts/{sid}.json",
        }

    def numbers(self, sid: str) -> list[dict[str, Any]]:
        return [
            {"sid": f"PN{place:032x}", "account_sid": sid, "sms_url": url, "sms_method": "POST"}
            for place, url in enumerate(self.sms_urls)
        ]
