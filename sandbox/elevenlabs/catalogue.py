"""ElevenLabs' models, output formats and plans (docs/providers/elevenlabs.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Plan = Literal["free", "starter", "creator", "pro", "scale", "business"]

PLANS: tuple[Plan, ...] = ("free", "starter", "creator", "pro", "scale", "business")

TRANSCRIPTION_MODELS = ("scribe_v1", "scribe_v1_experimental", "scribe_v2", "scribe_v2_medical")

# The 29 languages of multilingual_v2, and the three that flash_v2_5 adds
# (docs/providers/elevenlabs.md, "Models and languages").
_LANGUAGES = (
    "en ja zh de hi fr ko pt it es id nl tr fil pl sv bg ro ar cs el fi hr ms sk da ta uk ru"
)
_LANGUAGES_29 = frozenset(_LANGUAGES.split())
_LANGUAGES_32 = _LANGUAGES_29 | {"hu", "no", "vi"}

_MP3 = "22050_32 24000_48 44100_32 44100_64 44100_96 44100_128 44100_192"
_RATES = "8000 16000 22050 24000 32000 44100 48000"
STREAM_FORMATS = frozenset(
    [f"mp3_{form}" for form in _MP3.split()]
    + [f"pcm_{rate}" for rate in _RATES.split()]
    + [f"opus_48000_{bitrate}" for bitrate in (32, 64, 96, 128, 192)]
    + ["ulaw_8000", "alaw_8000"]
)
WHOLE_FORMATS = STREAM_FORMATS | {f"wav_{rate}" for rate in _RATES.split()}

CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "pcm": "audio/pcm",
    "wav": "audio/wav",
    "ulaw": "audio/basic",
    "alaw": "audio/basic",
}


@dataclass(frozen=True)
class VoiceModel:
    """A text-to-speech model.

    ``limit`` is in characters per request, ``rate`` in credits per character. ``language_code``
    says whether the model uses that field of a request.
    """

    model_id: str
    limit: int
    rate: float
    group: str
    languages: frozenset[str]
    language_code: Literal["enforced", "ignored"] = "enforced"
    stitches: bool = True

    def credits(self, text: str) -> int:
        return math.ceil(len(text) * self.rate)

    def as_json(self) -> dict[str, Any]:
        """The model as in the response to GET /v1/models."""
        return {
            "model_id": self.model_id,
            "name": self.model_id.replace("_", " ").title(),
            "can_do_text_to_speech": True,
            "can_use_style": True,
            "can_use_speaker_boost": True,
            "serves_pro_voices": False,
            "requires_alpha_access": False,
            "maximum_text_length_per_request": self.limit,
            "languages": [{"language_id": code, "name": code} for code in sorted(self.languages)],
            "model_rates": {"character_cost_multiplier": self.rate},
            "concurrency_group": self.group,
        }


_STANDARD, _TURBO = "standard_eleven_multilingual_v2", "turbo"
_ENGLISH = frozenset({"en"})

VOICE_MODELS = {
    model.model_id: model
    for model in (
        VoiceModel("eleven_flash_v2_5", 40_000, 0.5, _TURBO, _LANGUAGES_32),
        VoiceModel("eleven_flash_v2", 30_000, 0.5, _TURBO, _ENGLISH),
        VoiceModel("eleven_turbo_v2_5", 40_000, 0.5, _TURBO, _LANGUAGES_32),
        VoiceModel("eleven_turbo_v2", 30_000, 0.5, _TURBO, _ENGLISH),
        VoiceModel("eleven_multilingual_v2", 10_000, 1.0, _STANDARD, _LANGUAGES_29, "ignored"),
        VoiceModel("eleven_v3", 5_000, 1.0, _STANDARD, _LANGUAGES_32, stitches=False),
    )
}

GROUPS = frozenset(model.group for model in VOICE_MODELS.values())


def required_plan(output_format: str) -> Plan:
    """The smallest plan with that format (docs/providers/elevenlabs.md, "Output formats")."""
    if output_format.startswith("opus"):
        return "starter"
    if output_format == "mp3_44100_192":
        return "creator"
    if output_format in ("pcm_44100", "wav_44100"):
        return "pro"
    return "free"


def allows(plan: Plan, output_format: str) -> bool:
    return PLANS.index(plan) >= PLANS.index(required_plan(output_format))
