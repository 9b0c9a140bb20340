"""Twilio's message log in both directions, and the 24-hour windows of its users."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from sandbox.call_recorder import CallRecorder
from sandbox.twilio.content import Content

# Free-form answers are allowed for this time after a user's last message
# (docs/providers/twilio.md, "The 24-hour window").
WINDOW_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Inbound:
    """A message a user sent."""

    sid: str
    sender: str
    to: str
    body: str
    num_media: int
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Outbound:
    """A message that the bot sent, with its current state.

    ``at`` is when it was accepted, in monotonic seconds. ``audio`` and ``audio_type`` were fetched
    from ``media_url``, at ``fetched_at``. ``content`` has the buttons or the list of a template.
    ``status`` is queued, sent, delivered or read, or undelivered with Twilio's
    ``error_code``.
    """

    sid: str
    to: str
    sender: str
    body: str
    media_url: str | None = None
    audio: bytes | None = None
    audio_type: str | None = None
    fetched_at: float | None = None
    content: Content | None = None
    status: str = "queued"
    error_code: int | None = None
    at: float = field(default_factory=time.monotonic)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    direction: str = "outbound-api"
    callback: str | None = None


class Messages:
    """Thread-safe; notifies the call recorder whenever a message changes."""

    def __init__(self, *, recorder: CallRecorder) -> None:
        self.window_seconds = WINDOW_SECONDS
        self._recorder = recorder
        self._lock = threading.Lock()
        self._outbound: dict[str, Outbound] = {}
        self._inbound: dict[str, Inbound] = {}
        self._window_opened: dict[str, float] = {}

    def accept(self, message: Outbound) -> None:
        with self._lock:
            self._outbound[message.sid] = message
        self._recorder.notify()

    def change(self, sid: str, **changes: Any) -> Outbound:
        """Set fields of an outbound message; returns the changed message."""
        with self._lock:
            message = self._outbound[sid] = replace(self._outbound[sid], **changes)
        self._recorder.notify()
        return message

    def receive(self, form: Mapping[str, str]) -> None:
        """Add an inbound message by its form, and open the sender's window."""
        message = Inbound(
            sid=form.get("MessageSid", ""),
            sender=form.get("From", ""),
            to=form.get("To", ""),
            body=form.get("Body", ""),
            num_media=int(form.get("NumMedia") or 0),
        )
        with self._lock:
            self._inbound.setdefault(message.sid, message)
        self.open_window(message.sender)

    def outbound(self, to: str | None = None) -> list[Outbound]:
        """In order of acceptance."""
        with self._lock:
            return [message for message in self._outbound.values() if to in (None, message.to)]

    def forget_outbound(self) -> None:
        with self._lock:
            self._outbound.clear()

    def find(self, sid: str) -> Inbound | Outbound | None:
        with self._lock:
            return self._outbound.get(sid) or self._inbound.get(sid)

    def newest_first(self) -> list[Inbound | Outbound]:
        with self._lock:
            everything: list[Inbound | Outbound] = list(self._inbound.values())
            everything += self._outbound.values()
        return sorted(everything, key=lambda message: message.created, reverse=True)

    def is_inbound(self, sid: str) -> bool:
        with self._lock:
            return sid in self._inbound

    def open_window(self, user: str) -> None:
        """Open the window of ``user``, as a message does."""
        with self._lock:
            self._window_opened[user] = time.monotonic()

    def close_window(self, user: str) -> None:
        """Close the window of ``user``, as after a day without a message."""
        with self._lock:
            self._window_opened.pop(user, None)

    def window_is_open(self, user: str) -> bool:
        with self._lock:
            opened = self._window_opened.get(user)
        return opened is not None and time.monotonic() - opened < self.window_seconds


def resource(message: Inbound | Outbound, account_sid: str) -> dict[str, Any]:
    """The message as JSON of the REST API (docs/providers/twilio.md, "Sending")."""
    path = f"/2010-04-01/Accounts/{account_sid}/Messages/{message.sid}"
    created = format_datetime(message.created)
    common = {
        "sid": message.sid,
        "account_sid": account_sid,
        "messaging_service_sid": None,
        "from": message.sender,
        "to": message.to,
        "body": message.body,
        "num_segments": "1",
        "price": None,
        "price_unit": None,
        "error_code": None,
        "error_message": None,
        "api_version": "2010-04-01",
        "date_created": created,
        "date_updated": created,
        "date_sent": created,
        "uri": f"{path}.json",
        "subresource_uris": {"media": f"{path}/Media.json"},
    }
    if isinstance(message, Inbound):
        received = {"status": "received", "direction": "inbound"}
        return common | received | {"num_media": str(message.num_media)}
    return common | {
        "status": message.status,
        "direction": message.direction,
        "num_media": "1" if message.media_url else "0",
        "error_code": message.error_code,
        "date_sent": None if message.status == "queued" else created,
    }
