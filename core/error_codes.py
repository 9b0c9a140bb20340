"""Extracts the codes from a provider's error, whose text is not logged: it may quote people."""

from __future__ import annotations

import re
from collections.abc import Iterable

# A plus sign is part of the name of a plan, as in only_for_creator+.
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]*\+?([_.][A-Za-z0-9]+\+?)*")
# NotFoundException, UNKNOWN_EXCEPTION; also within the JSON that some messages contain.
_ERROR_NAME = re.compile(r"\b(?:[A-Z][A-Za-z0-9]*(?:Error|Exception)|[A-Z0-9]+(?:_[A-Z0-9]+)+)\b")
MAX_LENGTH = 60


def codes(*values: object) -> list[str]:
    """The values that are codes, without duplicates."""
    return _unique(
        value
        for value in values
        if isinstance(value, str) and len(value) <= MAX_LENGTH and _CODE.fullmatch(value)
    )


def codes_in(text: str) -> list[str]:
    """The names of errors in a sentence, without duplicates."""
    return _unique(name for name in _ERROR_NAME.findall(text) if len(name) <= MAX_LENGTH)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
