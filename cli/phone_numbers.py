"""Phone numbers as people write them."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress

from core.setting_values import senders
from whatsapp.inbound import CHANNEL

# Quotes, brackets, blanks, all kinds of hyphens, and the direction marks of copied numbers.
_BETWEEN_DIGITS = re.compile(
    r"""["'“”‘’().\s\u00AD\u2010-\u2015\u2212\u200B-\u200F\u202A-\u202E/-]"""
)


def whatsapp_address(number: str) -> str:
    """``whatsapp:+15550100`` for ``+1 (555) 0100``; the id of a user who hides it stays as it is.

    Raises ``ValueError`` with half a sentence if it is neither.
    """
    # Full-width signs become ASCII.
    plain = re.sub(r"(?i)^\W*whatsapp:", "", unicodedata.normalize("NFKC", number)).strip()
    for address in (plain, _tidy(plain)):
        with suppress(ValueError):
            return senders((f"{CHANNEL}{address}",))[0]
    raise ValueError(
        "is not a phone number; it begins with + and the country code, like +1 555 0100, and needs "
        "quotes if it has blanks"
    )


def _tidy(number: str) -> str:
    plain = _BETWEEN_DIGITS.sub("", number)
    # ``int`` reads the digits of every script.
    digits = re.sub(r"\d", lambda digit: str(int(digit[0])), plain)
    return re.sub(r"^00", "+", digits)
