"""What ElevenLabs' text-to-speech models take (docs/providers/elevenlabs.md)."""

from __future__ import annotations

from dataclasses import dataclass

_MULTILINGUAL_V2 = frozenset(
    """en ja zh de hi fr ko pt it es id nl tr fil pl sv bg ro ar cs el fi hr ms sk da ta uk
    ru""".split()
)
_FLASH_V2_5 = _MULTILINGUAL_V2 | {"hu", "no", "vi"}
_V3 = _FLASH_V2_5 | frozenset(
    """af as az be bn bs ca cy et fa ga gl gu ha he hy is jv ka kk kn ky lb ln lt lv mk ml mr ne
    ny pa ps sd sl so sr sw te th ur""".split()
)


@dataclass(frozen=True)
class VoiceModel:
    """``languages`` (ISO 639-1) are those whose code it takes; none where it takes no code.

    ``takes_context`` is whether it takes the text before and behind. ``reads_numbers`` is whether
    it says numbers, dates and units well by itself.
    """

    languages: frozenset[str] = frozenset()
    takes_context: bool = True
    reads_numbers: bool = True

    def language_code(self, language: str | None) -> str | None:
        """The code to send, if any."""
        return language if language in self.languages else None


_NO_CODE_FAST = VoiceModel(reads_numbers=False)
_FAST = VoiceModel(languages=_FLASH_V2_5, reads_numbers=False)
_EXPRESSIVE = VoiceModel(languages=_V3, takes_context=False)

# By the beginnings of names, longest first.
_MODELS = {
    "eleven_flash_v2_5": _FAST,
    "eleven_turbo_v2_5": _FAST,
    "eleven_flash_v2": _NO_CODE_FAST,
    "eleven_turbo_v2": _NO_CODE_FAST,
    "eleven_v3": _EXPRESSIVE,
    "eleven_v4": _EXPRESSIVE,
}
# The multilingual and monolingual models, and those that nobody knows yet: a code that a model
# does not take may be refused, and without one it goes by the text.
_ANY_OTHER = VoiceModel()


def find_voice_model(name: str) -> VoiceModel:
    """The model of that name, as ``ELEVENLABS_TTS_MODEL`` has it."""
    return next(
        (model for beginning, model in _MODELS.items() if name.startswith(beginning)), _ANY_OTHER
    )
