"""Tells full stops that end a sentence from those of abbreviations and ordinal numbers."""

from __future__ import annotations

import regex

from text.months import MONTH_NAMES

# Abbreviations after which no sentence ends, in the languages of the catalogue.
_TITLES = frozenset(
    "Dr Mr Mrs Ms Prof St Mt Hr Fr Sr Sra Srta Mme Mlle Dott Ing Sig Dhr Mevr Avda Sn Bpk".split()
)
_CONNECTIVES = frozenset(
    "approx incl excl vs bzw ca evtl exkl ggf inkl zzgl bijv env aprox".split()
)
_LAST_WORD = regex.compile(r"[\p{L}\p{M}]++|\p{Nd}++", regex.REVERSE)
_FIRST_WORD = regex.compile(r"[\p{L}\p{M}]*+")
_MAX_ABBREVIATION_CHARACTERS = 3


def ends_sentence(text: str, stop: int, following: int) -> bool:
    """Whether the full stop at ``stop`` ends a sentence; the next word begins at ``following``.

    A word that ends the text may still be continued, so the beginning of a month counts as one.
    """
    word = _last_word(text, stop)
    first = text[following : following + 1]
    if not word or not first:
        return True
    continues = first.islower() or first.isdecimal()
    if word.isdecimal():
        return not (continues or _is_month(text, following))
    if len(word) <= _MAX_ABBREVIATION_CHARACTERS and continues:
        return False
    is_initial = len(word) == 1 and word.isascii() and word != "I"
    return not (is_initial or word in _TITLES or word in _CONNECTIVES)


def _last_word(text: str, stop: int) -> str:
    found = _LAST_WORD.match(text, max(0, stop - 20), stop)
    return found[0] if found else ""


def _is_month(text: str, start: int) -> bool:
    found = _FIRST_WORD.match(text, start)
    word = found[0].casefold() if found else ""
    if found and word and found.end() == len(text):
        return any(name.startswith(word) for name in MONTH_NAMES)
    return word in MONTH_NAMES
