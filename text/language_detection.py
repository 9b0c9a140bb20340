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


def detect_language(
    text: str, fallback: str | None = None, *, min_probability: float = MIN_PROBABILITY
) -> str | None:
    """The language of ``text`` (ISO 639-1, ``fil`` for Filipino).

    ``fallback`` is returned if the language cannot be detected, because the text is too short, or
    has only codes, numbers or addresses. Guesses less probable than ``min_probability`` are
    ignored.
    """
    words = [word for word in text[:MAX_SAMPLE_CHARACTERS].split() if _is_word(word)]
    script = _main_script(words)
    if script is None:
        return fallback
    if script == _OTHER_SCRIPT:
        return None if fallback in _LANGUAGES else fallback
    language = _LANGUAGE_OF_SCRIPT.get(script) or _guess_language(words, script, min_probability)
    if language:
        return fallback if _MISTAKEN_FOR.get(fallback or "") == language else language
    if fallback in _LANGUAGES_OF_SCRIPT[script]:
        return fallback
    return _DEFAULT_LANGUAGE_OF_SCRIPT.get(script, fallback)


def has_words(text: str) -> bool:
    """Whether a text has more than numbers, addresses and codes in capital letters."""
    return any(
        _is_word(token) and _LETTERS.search(token) and not token.isupper()
        for token in text[:MAX_SAMPLE_CHARACTERS].split()
    )


def _is_word(token: str) -> bool:
    """Whether a token is a word rather than a code, a number or an address."""
    return not any(character.isdigit() or character in "@/\\_" for character in token)


def _main_script(words: list[str]) -> str | None:
    """The script of most letters; ``None`` if there are no letters."""
    letters: Counter[str] = Counter()
    for word in words:
        for match in _LETTERS.finditer(word):
            letters[match.lastgroup or ""] += len(match[0])
    if letters["Kana"]:
        # Japanese is written in both scripts.
        letters["Kana"] += letters.pop("Han", 0)
    return letters.most_common(1)[0][0] if letters else None


def _guess_language(words: list[str], script: str, min_probability: float) -> str | None:
    """The model's guess from the words in ``script``, if it is probable enough."""
    of_script = [word for word in words if _has_letters_of(script, word)]
    name, probability = _IDENTIFIER.classify(" ".join(of_script))
    language = _OUR_NAMES.get(name, name)
    of_this_script = language in _LANGUAGES_OF_SCRIPT[script]
    return language if of_this_script and probability >= min_probability else None


def _has_letters_of(script: str, word: str) -> bool:
    return any(match.lastgroup == script for match in _LETTERS.finditer(word))


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
