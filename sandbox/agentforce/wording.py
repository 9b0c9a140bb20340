"""Compares words regardless of spelling variants and small errors of speech recognition."""

from __future__ import annotations

import re
import unicodedata

from rapidfuzz import fuzz

# Arabic letters that writers and speech recognition often confuse.
_VARIANTS = str.maketrans({"ٱ": "ا", "ى": "ي", "ة": "ه", "ـ": None})
_ARTICLE = re.compile(r"^(?:[وفبك]?ال|لل)(?=\w{3})")
# Shorter words must be equal, because one letter makes them another word.
_SHORTEST_FUZZY = 4
_LEAST_SIMILARITY = 0.8


def has_arabic(text: str) -> bool:
    return any(unicodedata.name(letter, "").startswith("ARABIC LETTER") for letter in text)


def normalise(text: str) -> str:
    """Convert to lower case without punctuation and diacritics, with single spaces."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_VARIANTS)
    # NFD separates hamza, accents and vowel signs from their letters; all are category Mn.
    letters = unicodedata.normalize("NFD", plain)
    bare = "".join(letter for letter in letters if unicodedata.category(letter) != "Mn")
    return " ".join(re.findall(r"\w+", bare))


def words(text: str) -> list[str]:
    """The normalised words, Arabic ones without their article."""
    return [_ARTICLE.sub("", word) for word in normalise(text).split()]


def similarity(keyword: str, word: str) -> float:
    """1 for the same word, at least 0.8 for a similar one, 0 for a different one."""
    if keyword == word:
        return 1.0
    if min(len(keyword), len(word)) < _SHORTEST_FUZZY:
        return 0.0
    ratio = fuzz.ratio(keyword, word) / 100
    return ratio if ratio >= _LEAST_SIMILARITY else 0.0
