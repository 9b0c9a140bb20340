"""Converts the language codes of the providers to ISO 639-1."""

from __future__ import annotations

from babel.core import get_global

# Codes that CLDR's table lacks: regional Arabic, written Norwegian, Cantonese.
_REGIONAL = {
    **dict.fromkeys(("ary", "arz", "apc", "ajp", "acm", "afb", "apd", "acw", "ars"), "ar"),
    **dict.fromkeys(("nob", "nno", "nb", "nn"), "no"),
    "yue": "zh",
}
# Filipino has no code of two letters.
_THREE_LETTERS = frozenset({"fil"})


def two_letters(code: str | None) -> str | None:
    """Converts ``ara``, ``ar`` or ``ar-EG`` to ``ar``; ``None`` if the code is not known.

    Filipino is ``fil``.
    """
    base = (code or "").strip().lower().replace("_", "-").split("-")[0]
    known: str = _REGIONAL.get(base) or get_global("language_aliases").get(base, base)
    return known if len(known) == 2 or known in _THREE_LETTERS else None
