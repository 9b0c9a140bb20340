"""Which words a question is made of, however it was written or heard."""

from __future__ import annotations

import re
import unicodedata

from rapidfuzz import fuzz

# Letters that Arabic writers and recognisers use for one another.
_SAME = str.maketrans({"ٱ": "ا", "ى": "ي", "ة": "ه", "ـ": None})
_ARTICLE = re.compile(r"^(?:[وفبك]?ال|لل)(?=\w{3})")
# Shorter words must be the same: one letter makes another word of them.
_SHORTEST_FUZZY = 4
_ALIKE = 0.8


def has_arabic(text: str) -> bool:
    return any(unicodedata.name(letter, "").startswith("ARABIC LETTER") for letter in text)


def normalised(text: str) -> str:
    """Lower case, without punctuation and diacritics, with single spaces."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_SAME)
    # Taken apart, a letter loses its hamza or accent together with the vowel signs.
    letters = unicodedata.normalize("NFD", plain)
    bare = "".join(letter for letter in letters if unicodedata.category(letter) != "Mn")
    return " ".join(re.findall(r"\w+", bare))


def words(text: str) -> list[str]:
    """The normalised words, Arabic ones without their article."""
    return [_ARTICLE.sub("", word) for word in normalised(text).split()]


def resembles(keyword: str, word: str) -> float:
    """1 for the same word, less for one that may be a mishearing of it, 0 for another word."""
    if keyword == word:
        return 1.0
    if min(len(keyword), len(word)) < _SHORTEST_FUZZY:
        return 0.0
    alike = fuzz.ratio(keyword, word) / 100
    return alike if alike >= _ALIKE else 0.0
