"""Validates ``POST Messages.json`` (docs/providers/twilio.md, "Text and media")."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import urlsplit

from werkzeug.datastructures import MultiDict

BODY_LIMIT = 1600
MEDIA_LIMIT = 10
PARAMETERS = frozenset(
    {
        "To",
        "From",
        "MessagingServiceSid",
        "Body",
        "MediaUrl",
        "ContentSid",
        "StatusCallback",
        "ApplicationSid",
        "ProvideFeedback",
        "Attempt",
        "ValidityPeriod",
        "ForceDelivery",
        "ContentRetention",
        "AddressRetention",
        "SmartEncoded",
        "PersistentAction",
        "TrafficType",
        "ShortenUrls",
        "ScheduleType",
        "SendAt",
        "SendAsMms",
        "ContentVariables",
        "MessageIntent",
        "RiskCheck",
        "FallbackFrom",
        "MaxPrice",
    }
)
# Markdown that WhatsApp does not format (docs/providers/twilio.md, "Text formatting").
UNSUPPORTED_MARKDOWN = {
    "bold": re.compile(r"\*\*\S"),
    "link": re.compile(r"\]\("),
    "heading": re.compile(r"^#{1,6} ", re.MULTILINE),
    "table": re.compile(r"^ *\|.*\| *$", re.MULTILINE),
    "strikethrough": re.compile(r"~~\S"),
}

_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_PHONE = re.compile(r"whatsapp:\+\d{7,15}")
_SCOPED_ID = re.compile(r"whatsapp:[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")


class SendRefused(Exception):
    """The API answers 400 with Twilio's error ``code`` and ``message``."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Send:
    """An accepted request. With media, ``body`` is empty, because only the media is delivered.

    ``content_sid`` names a template; without one it is empty.
    """

    to: str
    body: str
    media_url: str | None
    callback: str | None
    content_sid: str


def parse_send(form: MultiDict[str, str], *, sender: str) -> Send:
    """Raises ``SendRefused`` if Twilio would refuse the request."""
    body = form.get("Body", "")
    media = [url for url in form.getlist("MediaUrl") if url]
    _check_addresses(form.get("To", ""), form.get("From", ""), sender)
    _check_content(body, media, bool(form.get("ContentSid")))
    callback = form.get("StatusCallback") or None
    if callback and not _is_web_address(callback):
        raise SendRefused(21609, f"The 'StatusCallback' URL {callback} is not a valid URL.")
    return Send(
        to=form["To"],
        body="" if media else body,
        media_url=media[0] if media else None,
        callback=callback,
        content_sid=form.get("ContentSid", ""),
    )


def find_violations(form: MultiDict[str, str]) -> list[str]:
    """Mistakes that Twilio accepts but a user would notice, one sentence each."""
    body = form.get("Body", "")
    found = [f"unknown parameter {name}" for name in form if name not in PARAMETERS]
    if body and form.get("MediaUrl"):
        found.append("a text and a recording in one message: the text is lost")
    if len(form.getlist("MediaUrl")) > 1:
        found.append("more than one MediaUrl: WhatsApp delivers the first only")
    if bad := _control_characters(body):
        found.append(f"control characters in the text: {', '.join(bad)}")
    prose = _CODE.sub("", body)
    markdown = [name for name, pattern in UNSUPPORTED_MARKDOWN.items() if pattern.search(prose)]
    return found + [f"Markdown left in the text: {name}" for name in markdown]


def _check_addresses(to: str, origin: str, sender: str) -> None:
    if not to:
        raise SendRefused(21604, "A 'To' phone number is required.")
    if not origin:
        raise SendRefused(21603, "A 'From' phone number is required.")
    if not (_PHONE.fullmatch(to) or _SCOPED_ID.fullmatch(to)):
        raise SendRefused(21211, f"The 'To' number {to} is not a valid phone number.")
    if origin != sender:
        raise SendRefused(63007, "Twilio could not find a Channel with the specified From address")


def _check_content(body: str, media: list[str], is_template: bool) -> None:
    if not (body.strip() or media or is_template):
        raise SendRefused(21602, "Message body is required.")
    # Characters beyond the Basic Multilingual Plane count twice, in the strictest interpretation.
    if len(body.encode("utf-16-le")) // 2 > BODY_LIMIT:
        raise SendRefused(
            21617, f"The concatenated message body exceeds the {BODY_LIMIT} character limit."
        )
    if len(media) > MEDIA_LIMIT:
        raise SendRefused(21623, f"Number of media files exceeds allowed limit of {MEDIA_LIMIT}.")
    if not all(_is_web_address(url) for url in media):
        raise SendRefused(21620, "Invalid media URL(s)")


def _is_web_address(text: str) -> bool:
    parts = urlsplit(text)
    host = parts.hostname or ""
    return parts.scheme in ("http", "https") and bool(host) and "_" not in host


def _control_characters(text: str) -> list[str]:
    """The control characters in ``text``, with the byte order mark, without line feed and tab."""
    control = {c for c in text if unicodedata.category(c) == "Cc" and c not in "\n\t"}
    return [f"U+{ord(c):04X}" for c in sorted(control | ({"\ufeff"} & set(text)))]
