"""Twilio's identifiers: two letters and 32 hexadecimal digits."""

from __future__ import annotations

import re
import uuid

_MESSAGE = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")


def new_sid(prefix: str) -> str:
    return prefix + uuid.uuid4().hex


def is_message_sid(text: str) -> bool:
    """Whether ``text`` has the form of a message's SID."""
    return _MESSAGE.fullmatch(text) is not None
