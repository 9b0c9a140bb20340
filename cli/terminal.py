"""What others wrote, made fit for a terminal."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """The text without control characters, which could change the terminal; lines are kept."""
    return "".join(each for each in text if each == "\n" or unicodedata.category(each) != "Cc")
