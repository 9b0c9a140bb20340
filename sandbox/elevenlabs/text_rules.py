"""Rules for texts that are synthesized: they must not contain markup, URLs, emoji and the like."""

from __future__ import annotations

import re
import unicodedata

_MARKUP = (
    r"</?[A-Za-z!][^<>]*>",
    r"&(?:amp|lt|gt|quot|nbsp|#\d+);",
    r"\[[^\]\n]*\]\([^)\n]*\)",
    r"`|\*\*|__|~~",
    r"^\s*#{1,6}\s",
    r"^\s*[-*+•]\s",
    r"^\s*>\s",
    r"^\s*\|.*\|\s*$",
    r"(?<!\w)[*_~](?=\S)[^*_~\n]*[^*_~\s][*_~](?!\w)",
)
_RULES = {
    "markup": re.compile("|".join(_MARKUP), re.MULTILINE),
    "a URL": re.compile(r"\b(?:https?://|www\.)\S", re.IGNORECASE),
    "an emoji": re.compile(
        "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe0f\u20e3\U000e0020-\U000e007f]"
    ),
}


def find_breaches(text: str) -> list[str]:
    """The rules that ``text`` breaks; they do not quote it, to keep users' words out of logs."""
    found = [f"text to speak holds {what}" for what, rule in _RULES.items() if rule.search(text)]
    if any(_is_control(character) for character in text):
        found.append("text to speak holds a control character")
    if not any(character.isalnum() for character in text):
        found.append("text to speak holds nothing to say")
    return found


def _is_control(character: str) -> bool:
    return character == "\ufffd" or (unicodedata.category(character) == "Cc" and character != "\n")
