"""The names of the months in the languages of the catalogue."""

from __future__ import annotations

import tomllib

from babel import Locale

from text.phrases import CATALOGUE

_MARKS = "*_~.,:;"


def begins_with_month(text: str) -> bool:
    """Whether the first word of ``text`` is the name of a month."""
    words = text[:_LONGEST_NAME].split(maxsplit=1)
    return bool(words) and words[0].strip(_MARKS).casefold() in MONTH_NAMES


def _read_names() -> frozenset[str]:
    languages = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    return frozenset(name for language in languages for name in _names_in(language))


def _names_in(language: str) -> set[str]:
    contexts = Locale.parse(language).months
    names = [name for context in contexts.values() for name in context["wide"].values()]
    return {name.split()[0].casefold() for name in names if not name[0].isdigit()}


# The first word of the name of each month, in lower case. Abbreviations are missing, because many
# of them are also other words, such as "set". Read at start-up, because it takes long.
MONTH_NAMES = _read_names()
_LONGEST_NAME = max(map(len, MONTH_NAMES)) + 2 * len("***")
