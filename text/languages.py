"""Language codes as the providers write them, made one."""

from __future__ import annotations

# ISO 639-2/-3 to ISO 639-1, Arabic's regional codes included
# (docs/providers/elevenlabs.md, "Models and languages").
_TWO_LETTERS = dict(
    pair.split(":")
    for pair in """
    ara:ar arb:ar ary:ar arz:ar apc:ar ajp:ar acm:ar afb:ar eng:en fra:fr fre:fr deu:de ger:de
    spa:es ita:it por:pt nld:nl dut:nl pol:pl rus:ru tur:tr jpn:ja kor:ko zho:zh chi:zh cmn:zh
    hin:hi ind:id fil:fil tgl:fil swe:sv bul:bg ron:ro rum:ro ces:cs cze:cs ell:el gre:el fin:fi
    hrv:hr msa:ms may:ms zsm:ms slk:sk slo:sk dan:da tam:ta ukr:uk hun:hu nor:no nob:no vie:vi
    fas:fa per:fa urd:ur heb:he
    """.split()
)

# What eleven_flash_v2_5 and eleven_turbo_v2_5 speak.
SPOKEN_BY_FLASH = frozenset(
    """en ja zh de hi fr ko pt it es id nl tr fil pl sv bg ro ar cs el fi hr ms sk da ta uk ru
    hu no vi""".split()
)


def two_letters(code: str | None) -> str | None:
    """``ara``, ``ar`` or ``ar-EG`` as ``ar``; ``None`` for a code that is not known."""
    base = (code or "").strip().lower().replace("_", "-").split("-")[0]
    if len(base) == 2:
        return base
    return _TWO_LETTERS.get(base)
