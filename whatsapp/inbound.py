"""Reads the form of Twilio's webhook into one message.

docs/providers/twilio.md, "The webhook".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.errors import MalformedRequest
from core.models import Attachment, Inbound, Kind
from text.markdown import clean

# The prefix of Twilio's addresses for WhatsApp users and senders.
CHANNEL = "whatsapp:"
# The SID of a message, as Twilio makes it.
SID = re.compile(r"(?:SM|MM)[0-9a-fA-F]{32}")
# People who test with curl take any short word as the SID, such as test123.
CURL_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")
ADDRESS_LIMIT = 256

_USER_ID = re.compile(r"whatsapp:[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
# The Body of a document is its file name: it ends in an extension, and is no web address.
_FILE_NAME = re.compile(r"(?!.*://).+\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,5}")

RECORDINGS = ("audio", "voice")
PICTURES = ("image", "video")
FILES = (*RECORDINGS, *PICTURES, "document")
# Types with content that is neither a file nor text.
WITH_CONTENT = ("location", "unsupported")
# Types that may have no text that we can read, although the user expects an answer.
EXPECTS_ANSWER = ("", "text", "interactive", "button", "contacts", "order", "sticker")


def parse_message(form: Mapping[str, str], *, by_curl: bool = False) -> Inbound:
    """Read the form of ``POST /``. Raises ``MalformedRequest``.

    ``by_curl``: the form may come from a person with curl, so the SID may be any short word.
    """
    sid = form.get("MessageSid", "")
    address = _add_plus(form.get("From", ""))
    if not (CURL_SID if by_curl else SID).fullmatch(sid):
        raise MalformedRequest("MessageSid is missing or not a SID")
    # PostgreSQL cannot store a NUL.
    if not address or len(address) > ADDRESS_LIMIT or "\0" in address:
        raise MalformedRequest("From is missing or not an address")
    kind, text, attachment = _read_content(form)
    sender = _read_user_id(form) or address
    return Inbound(
        sid=sid,
        sender=sender,
        kind=kind,
        text=text,
        media_url=clean(form.get("MediaUrl0", "")),
        address=address if address != sender else "",
        attachment=attachment,
    )


def read_recipient(form: Mapping[str, str]) -> str:
    """Our address to which the message was sent; people with curl may leave it out."""
    return _add_plus(form.get("To", ""))


def _add_plus(address: str) -> str:
    """The address, with its plus. If curl does not encode the plus, the form has a blank there."""
    return re.sub(r"^whatsapp: (?=[0-9]+$)", "whatsapp:+", address)


def _read_user_id(form: Mapping[str, str]) -> str | None:
    """The user's id, which stays the same when the user hides or shows the phone number.

    A value of another form is ignored: several users might have the same one.
    """
    user_id = form.get("ExternalUserId", "")
    return user_id if _USER_ID.fullmatch(user_id) else None


def _read_content(form: Mapping[str, str]) -> tuple[Kind, str, Attachment | None]:
    message_type = _read_type(form)
    attachment = _find_attachment(form)
    text = _read_text(form)
    if attachment is Attachment.UNSEEN and _is_recording(form):
        return Kind.VOICE, "", None
    if attachment is None and form.get("Latitude") and form.get("Longitude"):
        return Kind.LOCATION, _describe_place(form), None
    # Nobody expects an answer to a reaction (docs/providers/twilio.md, "Message types").
    if attachment is None and message_type == "reaction":
        return Kind.SILENT, "", None
    if text:
        return Kind.TEXT, text, attachment
    if attachment or message_type in WITH_CONTENT:
        return Kind.UNSUPPORTED, "", attachment or Attachment.MISSING
    return (Kind.UNSUPPORTED if message_type in EXPECTS_ANSWER else Kind.SILENT), "", None


def _find_attachment(form: Mapping[str, str]) -> Attachment | None:
    counted = form.get("NumMedia", "").strip() not in ("", "0")
    if counted and form.get("MediaUrl0"):
        return Attachment.UNSEEN
    return Attachment.MISSING if counted or _read_type(form) in FILES else None


def _is_recording(form: Mapping[str, str]) -> bool:
    """Whether the file was sent as audio. Whether it can be decoded is decided later.

    The media type may be wrong or missing, and Twilio does not document that there is always a
    message type.
    """
    message_type, media_type = _read_type(form), _read_media_type(form)
    untyped = not message_type and media_type in ("", "application/octet-stream")
    is_audio = media_type.startswith("audio/") or media_type == "application/ogg"
    return message_type in RECORDINGS or untyped or is_audio


def _read_type(form: Mapping[str, str]) -> str:
    return form.get("MessageType", "").strip().lower()


def _read_media_type(form: Mapping[str, str]) -> str:
    return form.get("MediaContentType0", "").split(";")[0].strip().lower()


def _read_text(form: Mapping[str, str]) -> str:
    """The typed text, the caption, or the text on the button or list row that was pressed."""
    text = form.get("Body") or form.get("ButtonText") or form.get("ListTitle") or ""
    text = clean(text).strip()
    return "" if _is_file_name(form, text) else text


def _is_file_name(form: Mapping[str, str], text: str) -> bool:
    """Whether the text is the name that Twilio gives to a file, rather than a caption."""
    message_type, media_type = _read_type(form), _read_media_type(form)
    is_picture = message_type in PICTURES or media_type.startswith(("image/", "video/"))
    is_document = message_type == "document" or (bool(media_type) and not is_picture)
    return is_document and _FILE_NAME.fullmatch(text) is not None


def _describe_place(form: Mapping[str, str]) -> str:
    """``Twilio Inc, 375 Beale St (37.78, -122.39)``; a location without a name is coordinates."""
    point = f"{form['Latitude']}, {form['Longitude']}"
    name = ", ".join(form[key] for key in ("Label", "Address") if form.get(key))
    return clean(f"{name} ({point})" if name else point)
