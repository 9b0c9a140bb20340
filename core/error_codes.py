"""What may be logged of a provider's error answer: its codes, never its text, which can quote."""

from __future__ import annotations

import re
from collections.abc import Iterable

# A plus is that of a plan, such as only_for_creator+.
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]*\+?([_.][A-Za-z0-9]+\+?)*")
# NotFoundException, UNKNOWN_EXCEPTION: also in the JSON that some messages hold.
_NAMED = re.compile(r"\b(?:[A-Z][A-Za-z0-9]*(?:Error|Exception)|[A-Z0-9]+(?:_[A-Z0-9]+)+)\b")
LONGEST = 60


def codes(*values: object) -> list[str]:
    """Those of the values that are a code, each once."""
    return _once(
        value
        for value in values
        if isinstance(value, str) and len(value) <= LONGEST and _CODE.fullmatch(value)
    )


def codes_in(text: str) -> list[str]:
    """The names of errors in a sentence, each once."""
    return _once(name for name in _NAMED.findall(text) if len(name) <= LONGEST)


def _once(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(found))
