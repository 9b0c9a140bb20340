"""The names of the months in the languages of the catalogue."""

from __future__ import annotations

import tomllib
from functools import cache

from babel import Locale

from text.phrases import CATALOGUE

_MARKS = "*_~.,:;"


def begins_with_month(text: str) -> bool:
    """Whether the first word of ``text`` is the name of a month."""
    words = text[: _longest_name()].split(maxsplit=1)
    return bool(words) and words[0].strip(_MARKS).casefold() in month_names()


@cache
def month_names() -> frozenset[str]:
    """The first word of the name of each month, in lower case.

    Abbreviations are missing, because many of them are also other words, such as ``set``.
    """
    languages = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    return frozenset(name for language in languages for name in _names_in(language))


def _names_in(language: str) -> set[str]:
    contexts = Locale.parse(language).months
    names = [name for context in contexts.values() for name in context["wide"].values()]
    return {name.split()[0].casefold() for name in names if not name[0].isdigit()}


@cache
def _longest_name() -> int:
    return max(map(len, month_names())) + 2 * len("***")
