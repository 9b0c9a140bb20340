"""Language codes as the providers write them, made one."""

from __future__ import annotations

from babel.core import get_global

# What CLDR's table of three-letter codes lacks: regional Arabic, written Norwegian, Cantonese.
_REGIONAL = {
    **dict.fromkeys(("ary", "arz", "apc", "ajp", "acm", "afb", "apd", "acw", "ars"), "ar"),
    **dict.fromkeys(("nob", "nno", "nb", "nn"), "no"),
    "yue": "zh",
}
# Filipino has no code of two letters.
_THREE_LETTERS = frozenset({"fil"})


def two_letters(code: str | None) -> str | None:
    """``ara``, ``ar`` or ``ar-EG`` as ``ar`` (ISO 639-1); ``None`` for a code that is not known.

    Filipino is ``fil``.
    """
    base = (code or "").strip().lower().replace("_", "-").split("-")[0]
    known: str = _REGIONAL.get(base) or get_global("language_aliases").get(base, base)
    return known if len(known) == 2 or known in _THREE_LETTERS else None
