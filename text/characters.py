"""Classes of characters that decide where words, marks and addresses end."""

from __future__ import annotations

import unicodedata

import regex

# Letters of alphabets that separate words by blanks, and all digits. A mark between two of these
# characters is inside a word or a number. Other scripts write words without blanks between them
# (Chinese, Thai), or attach particles to words (Arabic, Hebrew, Korean).
_ALPHABET = regex.compile(r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Nd}]")

# Punctuation that ends a sentence if a blank follows, and that which needs no blank (Chinese and
# Japanese). Both are for use between the brackets of a pattern.
SENTENCE_STOPS = ".!?…؟۔।॥։።។"
UNSPACED_SENTENCE_STOPS = "。！？｡"
# Punctuation that ends a sentence or a clause.
STOPS = frozenset(".,:;!?…،؛؟۔।॥。，、；：！？｡､")


def is_alphabetic(character: str) -> bool:
    """Whether the character is a digit, or a letter of an alphabet with blanks between words."""
    return bool(_ALPHABET.match(character))


def category(character: str) -> str:
    """The Unicode category; for "", which is the end of a text, that of a blank."""
    return unicodedata.category(character) if character else "Zs"


def is_blank(character: str) -> bool:
    """Whether the character is white space, or the end of a text."""
    return not character or character.isspace()
