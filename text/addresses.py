"""Finds the web addresses in a text."""

from __future__ import annotations

from collections.abc import Iterator

import regex

# Addresses of these schemes contain programs or data, or lead to the reader's own files.
UNSAFE_SCHEMES = frozenset(("javascript", "data", "vbscript", "file"))

_SCHEMES = r"(?:https?|ftp|[a-z][a-z0-9+.-]{0,20}|)://"
_DOMAIN_WITH_PATH = r"(?<![\w.@/-])(?:[a-z0-9_-]{1,63}\.){1,6}[a-z]{2,20}/"
_BEGINNING = regex.compile(
    rf"{_SCHEMES}|(?<![a-z0-9])www\.(?=\w)|{_DOMAIN_WITH_PATH}", regex.IGNORECASE
)
# The characters of an address: ASCII except for quotation marks, angle brackets, backticks and
# backslashes; Latin letters; and letters of another script if they begin a part of the address or
# continue such letters. Letters that follow an ASCII letter belong to the sentence, like particles
# in Japanese or Korean. So do other characters beyond ASCII, such as a Chinese comma. Two stars are
# never part of an address: they mark bold text.
_BODY = regex.compile(
    r"(?:(?!\*\*)[!#-;=?-\[\]-_a-~]"
    r"|[\p{Latin}--[\x00-\x7f]]"
    r"|(?<=[/?=&\#.:@+%_~-]|[[\p{L}\p{M}\p{N}]--[\p{Latin}\x00-\x7f]])"
    r"[[\p{L}\p{M}\p{N}]--[\x00-\x7f]])*+",
    regex.VERSION1,
)
# These follow an address more often than they end one.
_NOT_AT_THE_END = frozenset(".,:;!?'*_~")


def find_addresses(text: str) -> Iterator[tuple[int, int]]:
    """The start and end of each address in ``text``, in order."""
    if "/" not in text and "www." not in text.lower():
        return
    position = 0
    while beginning := _BEGINNING.search(text, position):
        position = address_end(text, beginning.end())
        yield beginning.start(), position


def address_end(text: str, start: int) -> int:
    """The end of an address that continues at ``start``, for example after ``://``.

    The address includes brackets only in pairs, and not the punctuation of the sentence around it.
    """
    body = _BODY.match(text, start)
    end = _end_of_pairs(text, start, body.end() if body else start)
    while end > start and text[end - 1] in _NOT_AT_THE_END:
        end -= 1
    return end


def _end_of_pairs(text: str, start: int, end: int) -> int:
    """The position of the first closing bracket that was not opened, or ``end``."""
    opened = {")": 0, "]": 0}
    for position in range(start, end):
        character = text[position]
        if character == "(":
            opened[")"] += 1
        elif character == "[":
            opened["]"] += 1
        elif character in opened:
            opened[character] -= 1
            if opened[character] < 0:
                return position
    return end
