"""What Twilio's webhook brought, read into one message.

docs/providers/twilio.md, "The webhook".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.errors import MalformedRequest
from core.models import Inbound, Kind
from text.markdown import clean

# Of a message, as Twilio makes them.
SID = re.compile(r"(?:SM|MM)[0-9a-fA-F]{32}")
# The documented curl says test123.
CURL_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")
ADDRESS_LIMIT = 256


def parse_message(form: Mapping[str, str], *, by_curl: bool = False) -> Inbound:
    """Read the form of ``POST /``. Raises ``MalformedRequest``.

    ``by_curl`` where it need not come from Twilio, so that the SID may be almost anything.
    """
    sid = form.get("MessageSid", "")
    sender = _sender(form.get("From", ""))
    if not (CURL_SID if by_curl else SID).fullmatch(sid):
        raise MalformedRequest("MessageSid is missing or not a SID")
    # PostgreSQL cannot hold a NUL.
    if not sender or len(sender) > ADDRESS_LIMIT or "\0" in sender:
        raise MalformedRequest("From is missing or not an address")
    kind = _kind(form)
    text = _place(form) if kind is Kind.LOCATION else clean(_words(form)).strip()
    if kind is Kind.TEXT and not text:
        kind = Kind.UNSUPPORTED
    return Inbound(
        sid=sid, sender=sender, kind=kind, text=text, media_url=clean(form.get("MediaUrl0", ""))
    )


def _sender(address: str) -> str:
    """The address as it came; a blank behind the colon was a plus that curl did not encode."""
    return re.sub(r"^whatsapp: (?=[0-9]+$)", "whatsapp:+", address)


def _kind(form: Mapping[str, str]) -> Kind:
    message_type = form.get("MessageType", "").lower()
    media_type = form.get("MediaContentType0", "").split(";")[0].strip().lower()
    if form.get("NumMedia", "0") not in ("", "0"):
        return Kind.VOICE if _is_recording(message_type, media_type) else Kind.UNSUPPORTED
    if form.get("Latitude") and form.get("Longitude"):
        return Kind.LOCATION
    # Reactions have no documented form; what carries nothing is answered with nothing
    # (docs/providers/twilio.md, "Message types").
    if message_type == "reaction":
        return Kind.SILENT
    if _words(form).strip():
        return Kind.TEXT
    known = ("", "text", "interactive", "button", "contacts", "order", "sticker", "image")
    return Kind.UNSUPPORTED if message_type in known else Kind.SILENT


def _is_recording(message_type: str, media_type: str) -> bool:
    """Whether the file was sent as audio. Its bytes decide later whether it can be heard.

    The media type may be wrong or missing in a message of type "audio", and Twilio does not
    document that there is a message type at all.
    """
    if message_type in ("audio", "voice"):
        return True
    untyped = not message_type and media_type in ("", "application/octet-stream")
    return untyped or media_type.startswith("audio/") or media_type == "application/ogg"


def _words(form: Mapping[str, str]) -> str:
    """The typed text, or the words on the button or list row that was pressed."""
    return form.get("Body") or form.get("ButtonText") or form.get("ListTitle") or ""


def _place(form: Mapping[str, str]) -> str:
    """``Twilio Inc, 375 Beale St (37.78, -122.39)``; a location without a name is coordinates."""
    point = f"{form['Latitude']}, {form['Longitude']}"
    name = ", ".join(form[key] for key in ("Label", "Address") if form.get(key))
    return clean(f"{name} ({point})" if name else point)
