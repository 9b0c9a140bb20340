"""The conversations of the phones: what their users sent, and what the bridge sent them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox.phone.recordings import Recordings
from sandbox.twilio.content import Choice
from sandbox.twilio.messages import Outbound
from sandbox.twilio.standin import TwilioStandIn
from sandbox.twilio.webhook import Delivery

# WhatsApp shows the typing indicator for as long, unless an answer comes first.
TYPING_SECONDS = 25.0


@dataclass
class Sent:
    """A message of a user; ``at`` is monotonic seconds.

    ``kind`` is text, voice, picture, location or choice. ``delivery`` is the answer of the bridge's
    webhook, and None until there is one.
    """

    sid: str
    user: str
    kind: str
    text: str = ""
    file: bytes = b""
    file_type: str = ""
    place: dict[str, str] = field(default_factory=dict)
    replied: str = ""
    at: float = field(default_factory=time.monotonic)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    delivery: Delivery | None = None


class Conversations:
    """Those of all phones. Thread-safe."""

    def __init__(self, *, twilio: TwilioStandIn, recordings: Recordings) -> None:
        self._twilio = twilio
        self._recordings = recordings
        self._lock = threading.Lock()
        self._sent: list[Sent] = []

    def send(self, sent: Sent, form: dict[str, str]) -> Delivery:
        """Post the message to the bridge, signed by Twilio."""
        with self._lock:
            self._sent.append(sent)
        self._twilio.recorder.notify()
        sent.delivery = self._twilio.deliver(form)
        self._twilio.recorder.notify()
        return sent.delivery

    def sent(self, user: str | None = None) -> list[Sent]:
        with self._lock:
            return [each for each in self._sent if user in (None, each.user)]

    def file(self, user: str, sid: str) -> tuple[bytes, str] | None:
        """The recording or picture of one of the user's messages, and its type."""
        for sent in self.sent(user):
            if sent.sid == sid and sent.file:
                return sent.file, sent.file_type
        for message in self._twilio.messages(user):
            if message.sid == sid and message.audio:
                return message.audio, message.audio_type or "audio/ogg"
        return None

    def view(self, user: str) -> dict[str, Any]:
        """The user's messages as JSON, the oldest first, and whether the bridge is typing."""
        received = [each for each in self._twilio.messages(user) if each.status != "queued"]
        sent = self.sent(user)
        chosen = {each.replied for each in sent if each.replied}
        messages = [self._sent_json(each) for each in sent]
        messages += [self._received_json(each, each.sid in chosen) for each in received]
        messages.sort(key=lambda message: message["at"])
        return {"messages": messages, "typing": self._is_typing(sent, received)}

    def _is_typing(self, sent: list[Sent], received: list[Outbound]) -> bool:
        shown = max((self._twilio.typed_at.get(each.sid, 0.0) for each in sent), default=0.0)
        answered = max((each.at for each in received), default=0.0)
        return shown > answered and time.monotonic() - shown < TYPING_SECONDS

    def _sent_json(self, sent: Sent) -> dict[str, Any]:
        kept = {"text": sent.text, "place": sent.place}
        return {
            "sid": sent.sid,
            "mine": True,
            "kind": sent.kind,
            "at": sent.created.isoformat(),
            "status": self._status(sent),
            **{name: value for name, value in kept.items() if value},
            **(self._voice_json(sent.file) if sent.kind == "voice" else {}),
        }

    def _status(self, sent: Sent) -> str:
        """Sent to Twilio, delivered to the bridge, or read, which the typing indicator implies."""
        if sent.sid in self._twilio.typed_at:
            return "read"
        if sent.delivery is None:
            return "sent"
        return "delivered" if sent.delivery.status == 200 else "failed"

    def _received_json(self, message: Outbound, is_chosen: bool) -> dict[str, Any]:
        content = message.content
        return {
            "sid": message.sid,
            "mine": False,
            "kind": "voice" if message.media_url else "text",
            "at": message.created.isoformat(),
            "status": message.status,
            "text": message.body,
            "error": message.error_code,
            **(self._voice_json(message.audio) if message.audio else {}),
            **(
                {
                    "buttons": [_choice_json(each) for each in content.buttons],
                    "rows": [_choice_json(each) for each in content.rows],
                    "listButton": content.list_button,
                    "chosen": is_chosen,
                }
                if content
                else {}
            ),
        }

    def _voice_json(self, audio: bytes) -> dict[str, Any]:
        shape = self._recordings.shape(audio)
        return {"seconds": round(shape.seconds, 2), "bars": list(shape.bars)}


def _choice_json(choice: Choice) -> dict[str, str]:
    return {"id": choice.id, "title": choice.title, "description": choice.description}
