"""Detects the language of a text."""

from __future__ import annotations

import os
from collections import Counter

import regex

# numpy, which py3langid needs, would otherwise start a thread of the system for each core.
os.putenv("OPENBLAS_NUM_THREADS", "1")

from py3langid.langid import MODEL_FILE, LanguageIdentifier

# Guesses about short texts that are less probable than this are wrong too often.
MIN_PROBABILITY = 0.6
# Characters; more text makes no guess better.
MAX_SAMPLE_CHARACTERS = 2000

# Scripts of one language only, among the languages that we distinguish.
_LANGUAGE_OF_SCRIPT = {
    "Hebrew": "he",
    "Devanagari": "hi",
    "Greek": "el",
    "Hangul": "ko",
    "Kana": "ja",
    "Han": "zh",
    "Tamil": "ta",
}
# Scripts of several languages, among which the model decides. Malay is missing, because the model
# often mistakes Indonesian for Malay.
_LANGUAGES_OF_SCRIPT = {
    "Arabic": frozenset({"ar", "fa", "ur"}),
    "Cyrillic": frozenset({"ru", "uk", "bg"}),
    "Latin": frozenset("en de fr pt it es id nl tr fil pl sv ro cs fi hr sk da hu no vi".split()),
}
# Assumed if a text is too short for the model. There is none for Latin letters: people type "ok" or
# "hey" whatever language they speak.
_DEFAULT_LANGUAGE_OF_SCRIPT = {"Arabic": "ar", "Cyrillic": "ru"}
# Languages that the model mistakes for another one. If a sender is known to use one of these, the
# other one is not believed.
_MISTAKEN_FOR = {"ms": "id", "mr": "hi", "ne": "hi"}
# Filipino and Tagalog are one language to ElevenLabs.
_MODEL_NAMES = {"fil": "tl"}
_LANGUAGES = frozenset(_LANGUAGE_OF_SCRIPT.values()).union(*_LANGUAGES_OF_SCRIPT.values())

_OTHER_SCRIPT = "Other"
_PATTERNS = {
    script: rf"\p{{{script}}}" for script in (*_LANGUAGE_OF_SCRIPT, *_LANGUAGES_OF_SCRIPT)
} | {"Kana": r"[\p{Hiragana}\p{Katakana}]", _OTHER_SCRIPT: r"\p{L}"}
_LETTERS = regex.compile(
    "|".join(rf"(?P<{script}>{pattern}++)" for script, pattern in _PATTERNS.items())
)
# Chinese and Japanese have no spaces between words, and none before a number or a code.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}"
_TOKEN = regex.compile(rf"[{_UNSPACED}]++|[^\s{_UNSPACED}]++")
# What a number, a code or an address has, and a word has not.
_NOT_IN_WORDS = regex.compile(r"[\p{Nd}\p{No}@/\\_]")


def detect_language(
    text: str, fallback: str | None = None, *, min_probability: float = MIN_PROBABILITY
) -> str | None:
    """The language of ``text`` (ISO 639-1, ``fil`` for Filipino).

    ``fallback`` is returned if the language cannot be detected, because the text is too short, or
    has only codes, numbers or addresses. Guesses less probable than ``min_probability`` are
    ignored.
    """
    words = _words(text)
    letters = _count_letters(" ".join(words))
    if not letters:
        return fallback
    script = letters.most_common(1)[0][0]
    if script == _OTHER_SCRIPT:
        return None if fallback in _LANGUAGES else fallback
    if len(letters) > 1:
        words = [word for word in words if script in _count_letters(word)]
    language = _LANGUAGE_OF_SCRIPT.get(script) or _guess_language(words, script, min_probability)
    if language:
        return fallback if _MISTAKEN_FOR.get(fallback or "") == language else language
    if fallback in _LANGUAGES_OF_SCRIPT[script]:
        return fallback
    return _DEFAULT_LANGUAGE_OF_SCRIPT.get(script, fallback)


def has_words(text: str) -> bool:
    """Whether a text has more than numbers, addresses and codes in capital letters."""
    return any(_LETTERS.search(word) and not word.isupper() for word in _words(text))


def _words(text: str) -> list[str]:
    """The words of the beginning of a text, without codes, numbers and addresses."""
    tokens = _TOKEN.findall(text[:MAX_SAMPLE_CHARACTERS])
    return [token for token in tokens if not _NOT_IN_WORDS.search(token)]


def _count_letters(text: str) -> Counter[str]:
    """The number of letters of each script."""
    letters: Counter[str] = Counter()
    for match in _LETTERS.finditer(text):
        letters[match.lastgroup or ""] += len(match[0])
    if letters["Kana"]:
        # Japanese is written in both scripts.
        letters["Kana"] += letters.pop("Han", 0)
    return letters


def _guess_language(words: list[str], script: str, min_probability: float) -> str | None:
    """The model's guess from words in ``script``, if it is probable enough."""
    name, probability = _IDENTIFIER.classify(" ".join(words))
    language = _OUR_NAMES.get(name, name)
    of_this_script = language in _LANGUAGES_OF_SCRIPT[script]
    return language if of_this_script and probability >= min_probability else None


def _load_identifier() -> LanguageIdentifier:
    """The model, reduced to our languages, which takes a third of the memory."""
    languages = frozenset[str]().union(*_LANGUAGES_OF_SCRIPT.values())
    whole = LanguageIdentifier.from_model_file(MODEL_FILE)
    whole.set_languages({_MODEL_NAMES.get(language, language) for language in languages})
    return LanguageIdentifier(
        whole.nb_ptc,
        whole.nb_pc,
        whole.nb_classes,
        whole.tk_nextmove,
        whole.tk_output,
        norm_probs=True,
        tk_row=whole.tk_row,
    )


_OUR_NAMES = {name: language for language, name in _MODEL_NAMES.items()}
# Loaded on import: this takes a second, which must not fall into a turn.
_IDENTIFIER = _load_identifier()
