"""The words for signs, times and abbreviations in each language (``spoken_signs.toml``)."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CATALOGUE = Path(__file__).with_name("spoken_signs.toml")


@dataclass(frozen=True)
class Signs:
    """One language: ``words`` by the name of the sign; ``abbreviations`` in their compact form."""

    words: dict[str, str] = field(default_factory=dict)
    abbreviations: dict[str, str] = field(default_factory=dict)


NO_SIGNS = Signs()


def compact(abbreviation: str) -> str:
    """An abbreviation without spaces and capitals, in which people's spellings differ."""
    return "".join(abbreviation.split()).lower()


def _read(table: dict[str, Any]) -> Signs:
    abbreviations = table.get("abbreviations", {})
    return Signs(
        words={name: word for name, word in table.items() if isinstance(word, str)},
        abbreviations={compact(short): words for short, words in abbreviations.items()},
    )


def _match_listed(key: str) -> str:
    """A pattern of what all languages list under ``key``, with or without the spaces in it."""
    listed = {short for table in _TABLES.values() for short in table.get(key, ())}
    longest_first = sorted(listed, key=lambda short: (-len(short), short))
    return "|".join(re.escape(short).replace(r"\ ", r"\s?") for short in longest_first)


_TABLES = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
SIGNS = {language: _read(table) for language, table in _TABLES.items()}
ABBREVIATIONS = _match_listed("abbreviations")
LIST_ENDS = _match_listed("list_ends")
