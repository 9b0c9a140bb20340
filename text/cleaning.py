"""Removes characters that a reader cannot see."""

from __future__ import annotations

from collections.abc import Iterable

import regex

# Control characters, unpaired surrogates, and direction overrides, which could make a text read as
# something else. Joiners and direction marks stay: several scripts need them.
_INVISIBLE = regex.compile(
    r"[\p{Cc}\p{Cs}\u202A-\u202E\u2066-\u2069\uFEFF\uFFFC--[\n\t]]+", regex.VERSION1
)


def clean(text: str) -> str:
    """Text without control characters and direction overrides; line breaks stay, as LF."""
    return _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def paragraphs(texts: Iterable[str]) -> str:
    """Several messages as one text, a blank line between them."""
    return "\n\n".join(text.strip() for text in texts if text.strip())
