"""Prepares text for speech: removes addresses, emoji and marks, and ends sentences."""

from __future__ import annotations

import regex

from text.addresses import find_addresses
from text.characters import STOPS, category

# A placeholder for an address that was removed. ``clean`` removes this character from the agent's
# text.
GAP = "\ufffc"

# A star between two numbers, unless it belongs to a code to be dialled, such as ``*144*1#``.
_TIMES = regex.compile(
    r"(?<![\w*#])[*#]{1,2}\p{Nd}[\p{Nd}*]*+#(*SKIP)(*FAIL)"
    r"|(?<=\p{Nd})\s*+(?<!\*)\*(?!\*)\s*+(?=\p{Nd})"
)
# Emoji, with the characters that join and colour them. Signs such as ℃, № and ㎡ are not emoji, and
# those that mean yes, no, up or down may be the only answer in their line.
_EMOJI = regex.compile(
    r"(?:[\p{So}--[\xa9\xae°\u2100-\u214F\u3200-\u33FF✅✔❌✖✗✘☑▲▼Ⓐ-ⓩ]]"
    r"[\uFE0F\u200D\U0001F3FB-\U0001F3FF\U000E0020-\U000E007F]*+)++"
    r"|[\uFE0F\u20E3\U0001F3FB-\U0001F3FF]++",
    regex.VERSION1,
)
_BACKTICKS = regex.compile(r"`+")
# A mark without a closing mark, which may still follow while the agent is writing.
_UNCLOSED_MARK = regex.compile(r"(?<![\w*_~])(?:\*{1,3}|__|~~)(?=\p{L})")
_MARK = regex.compile(rf"{_UNCLOSED_MARK.pattern}|(?<=\w)(?:\*\*|__|~~)(?![\w*_~])")
_PLACEHOLDER = regex.compile(r"(?<!\w)</?(\p{L}[^<>\n]{0,80})>")
_GAP_BEFORE_STOP = regex.compile(rf"\s*+{GAP}[\s{GAP}]*+(?=[.,:;!?](?!\w)|[…،؛؟۔।。，、；：！？])")
_EMPTY_BRACKETS = regex.compile(r"\(\s*+\)|（\s*+）|\[\s*+\]")
_CLOSING = ("Pe", "Pf")


def remove_unspeakable(text: str) -> str:
    """Text without emoji and unclosed marks, and with ``GAP`` in place of each address."""
    text = text.replace("🔟", "10")
    words = _TIMES.sub(" × ", _without_addresses(text))
    words = _UNCLOSED_MARK.sub("", _BACKTICKS.sub("", _EMOJI.sub("", words)))
    return _PLACEHOLDER.sub(r"\1", words)


def remove_markdown_marks(text: str) -> str:
    """Markdown that could not be parsed, without the marks around its words."""
    return _MARK.sub("", text)


def to_sentence(text: str) -> str:
    """A line with a full stop at its end, so that the voice pauses; "" if it has no words."""
    words = _GAP_BEFORE_STOP.sub("", text).replace(GAP, " ")
    words = " ".join(_EMPTY_BRACKETS.sub("", words).split())
    if not any(character.isalnum() for character in words):
        return ""
    return words if _ends_sentence(words) else f"{words}."


def _ends_sentence(words: str) -> bool:
    end = len(words)
    while end and (words[end - 1] in "\"'" or category(words[end - 1]) in _CLOSING):
        end -= 1
    return words[end - 1 : end] in STOPS if end else False


def _without_addresses(text: str) -> str:
    parts, position = [], 0
    for start, end in find_addresses(text):
        parts.append(text[position:start])
        position = end
    return GAP.join([*parts, text[position:]])
