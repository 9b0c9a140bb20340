"""Phone numbers as people write them."""

from __future__ import annotations

import re
import unicodedata

CHANNEL = "whatsapp:"
# E.164, and a user who hides the number (docs/providers/twilio.md, "Sender addresses").
NUMBER = re.compile(rf"{CHANNEL}\+[1-9][0-9]{{6,14}}")
_USER = re.compile(rf"{CHANNEL}[A-Z]{{2}}\.(ENT\.)?[A-Za-z0-9]{{1,128}}")
# Quotes, brackets, blanks, all kinds of hyphens, and the direction marks of copied numbers.
_BETWEEN_DIGITS = re.compile(
    r"""["'“”‘’().\s\u00AD\u2010-\u2015\u2212\u200B-\u200F\u202A-\u202E/-]"""
)


def whatsapp_address(number: str) -> str:
    """``whatsapp:+15550100`` for ``+1 (555) 0100``; the id of a user who hides it stays as it is.

    Raises ``ValueError`` with half a sentence if it is neither.
    """
    # Full-width signs become ASCII.
    plain = re.sub(rf"(?i)^\W*{CHANNEL}", "", unicodedata.normalize("NFKC", number)).strip()
    if _USER.fullmatch(f"{CHANNEL}{plain}"):
        return f"{CHANNEL}{plain}"
    address = f"{CHANNEL}{_tidy(plain)}"
    if NUMBER.fullmatch(address):
        return address
    raise ValueError(
        "is not a phone number; it begins with + and the country code, like +1 555 0100, and needs "
        "quotes if it has blanks"
    )


def _tidy(number: str) -> str:
    plain = _BETWEEN_DIGITS.sub("", number)
    # ``int`` reads the digits of every script.
    digits = re.sub(r"\d", lambda digit: str(int(digit[0])), plain)
    return re.sub(r"^00", "+", digits)
