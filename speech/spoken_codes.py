"""Spells codes, phone numbers and addresses so that a listener can write them down."""

from __future__ import annotations

import re

from speech.spoken_signs import Signs

# A run of more digits is read in groups of three.
_MAX_GROUP_DIGITS = 6
_IBAN_GROUP = 4
# Longer words in capitals are read as words: ORDER, but I N V.
_MAX_ACRONYM_LETTERS = 4
# A longer path of a web address is not spoken.
_MAX_PATH_CHARACTERS = 30

_SEGMENTS = re.compile(r"[A-Z]+|[^\W\d_]+|\d+")
_YEAR = re.compile(r"(?:19|20)\d\d")
_ADDRESS_SIGNS = {
    ".": "dot",
    "-": "hyphen",
    "_": "underscore",
    "/": "slash",
    "@": "at",
    "+": "plus",
}


def spell_code(code: str) -> str:
    """``INV-2024-00123`` as ``I N V, 2024, 0 0 1 2 3``."""
    return ", ".join(map(_spell_segment, _SEGMENTS.findall(code)))


def spell_phone_number(number: str, signs: Signs) -> str:
    """``+44 20 7946 0018`` as ``plus 4 4, 2 0, 7 9 4 6, 0 0 1 8``."""
    digits = ", ".join(map(_spell_digits, re.findall(r"\d+", number)))
    return f"{signs.words.get('plus', '+')} {digits}" if number.startswith("+") else digits


def spell_iban(iban: str) -> str:
    """Spells an IBAN in groups of four characters, as it is printed."""
    compact = iban.replace(" ", "")
    groups = (compact[at : at + _IBAN_GROUP] for at in range(0, len(compact), _IBAN_GROUP))
    return ", ".join(" ".join(group) for group in groups)


def read_email(address: str, signs: Signs) -> str:
    """``help@acme.com`` as ``help at acme dot com``."""
    return _read_signs(address, signs)


def read_web_address(address: str, signs: Signs) -> str:
    """``https://www.acme.com/help?x=1`` as ``acme dot com slash help``."""
    host, slash, path = re.sub(r"^\w+://(?:www\.)?|^www\.", "", address).partition("/")
    path = re.split(r"[?#]", path)[0].strip("/")
    readable = 0 < len(path) <= _MAX_PATH_CHARACTERS and path.isascii() and "%" not in path
    return _read_signs(f"{host}{slash}{path}" if readable else host, signs)


def _read_signs(address: str, signs: Signs) -> str:
    if not signs.words:
        return address
    return re.sub(
        r"[.\-_/@+]", lambda match: f" {signs.words[_ADDRESS_SIGNS[match[0]]]} ", address
    ).strip()


def _spell_segment(segment: str) -> str:
    if segment.isdigit():
        return segment if _YEAR.fullmatch(segment) else _spell_digits(segment)
    return " ".join(segment) if len(segment) <= _MAX_ACRONYM_LETTERS else segment


def _spell_digits(digits: str) -> str:
    if len(digits) <= _MAX_GROUP_DIGITS:
        return " ".join(digits)
    # The last group has two to four digits, never one.
    starts = range(0, len(digits) - 1, 3)
    ends = [*starts[1:], len(digits)]
    return ", ".join(" ".join(digits[at:end]) for at, end in zip(starts, ends, strict=True))
