"""The abilities of ElevenLabs' text-to-speech models (docs/providers/elevenlabs.md)."""

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
    """``languages`` (ISO 639-1): the language codes that the model accepts, if any.

    ``takes_context``: the model accepts the texts before and after a segment. ``reads_numbers``: it
    pronounces numbers, dates and units well by itself.
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

# By the beginning of the name; the first match counts.
_MODELS = {
    "eleven_flash_v2_5": _FAST,
    "eleven_turbo_v2_5": _FAST,
    "eleven_flash_v2": _NO_CODE_FAST,
    "eleven_turbo_v2": _NO_CODE_FAST,
    "eleven_v3": _EXPRESSIVE,
    "eleven_v4": _EXPRESSIVE,
}
# For multilingual and monolingual models, and for models that are not known yet. Without a language
# code a model detects the language; a code that it does not accept may be refused.
_ANY_OTHER = VoiceModel()


def find_voice_model(name: str) -> VoiceModel:
    """The model of that name, as ``ELEVENLABS_TTS_MODEL`` has it."""
    return next(
        (model for beginning, model in _MODELS.items() if name.startswith(beginning)), _ANY_OTHER
    )
