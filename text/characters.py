"""Classes of characters that decide where words, marks and addresses end."""

from __future__ import annotations

import unicodedata

import regex

# Alphabets whose words stand between blanks, with all digits. A mark between two of these
# characters stands inside a word or a number. Other scripts write words without blanks between
# them (Chinese, Thai), or attach particles (Arabic, Hebrew, Korean).
_ALPHABET = regex.compile(r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Nd}]")

# Punctuation that ends a sentence or a clause.
STOPS = frozenset(".,:;!?…،؛؟۔।॥。，、；：！？｡､")


def is_alphabetic(character: str) -> bool:
    """Whether the character belongs to a word or number that blanks separate from the next one."""
    return bool(_ALPHABET.match(character))


def category(character: str) -> str:
    """The Unicode category; that of a blank for the empty string, which is the end of a text."""
    return unicodedata.category(character) if character else "Zs"


def is_blank(character: str) -> bool:
    """Whether the character is white space, or the end of a text."""
    return not character or character.isspace()
