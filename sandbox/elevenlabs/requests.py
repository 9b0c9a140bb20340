"""The requests of ElevenLabs' API: their schema, and rules for callers beyond the schema.

A "breach" is a mistake that the service accepts or ignores, but that its caller should not make.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.elevenlabs import errors
from sandbox.elevenlabs.catalogue import VoiceModel
from sandbox.elevenlabs.text_rules import find_breaches
from sandbox.speech import is_arabic

M = TypeVar("M", bound=BaseModel)


class _Request(BaseModel):
    # Unknown fields, which the service ignores, are kept in order to report them as breaches.
    model_config = ConfigDict(extra="allow", protected_namespaces=())

    def unknown_fields(self) -> list[str]:
        return [f"unknown field {name}: the service ignores it" for name in self.model_extra or {}]


class Transcribe(_Request):
    """The form of POST /v1/speech-to-text, without the file."""

    model_id: str
    file_format: Literal["pcm_s16le_16", "other"] = "other"
    language_code: str | None = None
    tag_audio_events: bool = True
    num_speakers: int | None = Field(None, ge=1, le=32)
    timestamps_granularity: Literal["none", "word", "character"] = "word"
    diarize: bool = False
    diarization_threshold: float | None = Field(None, ge=0.1, le=0.4)
    additional_formats: str | None = None
    source_url: str | None = None
    cloud_storage_url: str | None = None
    webhook: bool = False
    webhook_id: str | None = None
    webhook_metadata: str | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    seed: int | None = Field(None, ge=0, le=2147483647)
    use_multi_channel: bool = False
    multichannel_output_style: Literal["separate", "combined"] = "separate"
    entity_detection: str | None = None
    entity_redaction: str | None = None
    entity_redaction_mode: Literal["redacted", "entity_type", "enumerated_entity_type"] | None = (
        None
    )
    no_verbatim: bool = False
    use_speaker_library: bool = False
    detect_speaker_roles: bool = False
    transcript_edit: str | None = Field(None, max_length=2000)
    keyterms: list[str] = []

    def breaches(self) -> list[str]:
        found = self.unknown_fields()
        if self.model_id.startswith("scribe_v1"):
            found.append("scribe_v1 is withdrawn: ask for scribe_v2")
        if self.tag_audio_events:
            found.append("tag_audio_events is not false: silence comes back as words")
        if self.language_code is not None and len(self.language_code) not in (2, 3):
            found.append(f"language_code {self.language_code!r} is neither ISO-639-1 nor -3")
        return found

    def check(self, files: int) -> None:
        """Raise the 400 errors that come after authentication; ``files`` is their number."""
        if files + bool(self.source_url) + bool(self.cloud_storage_url) != 1:
            raise errors.invalid(
                "invalid_parameters",
                "Exactly one of file, source_url, cloud_storage_url is needed.",
            )
        if not files or self.webhook or self.use_multi_channel:
            raise errors.invalid(
                "feature_not_available", "The sandbox hears uploaded single-channel files only."
            )
        if any(not _is_keyterm(term) for term in self.keyterms) or len(self.keyterms) > 1000:
            raise errors.invalid("invalid_parameters", "Invalid keyterms.", param="keyterms")
        if self.keyterms and self.model_id.startswith("scribe_v1"):
            raise errors.invalid(
                "invalid_parameters", "keyterms need scribe_v2 or later.", param="keyterms"
            )


class VoiceSettings(_Request):
    stability: float | None = Field(None, ge=0, le=1)
    similarity_boost: float | None = Field(None, ge=0, le=1)
    style: float | None = None
    use_speaker_boost: bool | None = None
    speed: float | None = None
    clone_strength: float | None = None

    def in_range(self) -> bool:
        """Whether the fields that the schema does not restrict are in range."""
        speed = 1.0 if self.speed is None else self.speed
        return 0.7 <= speed <= 1.2 and 0 <= (self.style or 0.0) <= 1


class Speak(_Request):
    """The JSON of POST /v1/text-to-speech/…."""

    text: str
    model_id: str | None = None
    language_code: str | None = None
    voice_settings: VoiceSettings | None = None
    pronunciation_dictionary_locators: list[dict[str, Any]] | None = None
    seed: int | None = None
    previous_text: str | None = None
    next_text: str | None = None
    previous_request_ids: list[str] | None = None
    next_request_ids: list[str] | None = None
    apply_text_normalization: Literal["auto", "on", "off"] | None = None
    apply_language_text_normalization: bool | None = None
    use_pvc_as_ivc: bool | None = None
    audio_effects: dict[str, Any] | None = None

    def breaches(self, model: VoiceModel) -> list[str]:
        found = self.unknown_fields() + find_breaches(self.text)
        if self.voice_settings is not None:
            found += self.voice_settings.unknown_fields()
        if self.language_code is not None:
            found += self._language_breaches(model, self.language_code)
        if self.apply_text_normalization == "on" and model.rate < 1:
            found.append(f"apply_text_normalization=on with {model.model_id} needs enterprise")
        return found

    def _language_breaches(self, model: VoiceModel, code: str) -> list[str]:
        if model.language_code == "ignored":
            return [f"language_code sent with {model.model_id}, which has none"]
        if code not in model.languages:
            return [f"{model.model_id} does not speak language_code {code!r}"]
        if is_arabic(self.text) and code != "ar":
            return [f"Arabic text sent with language_code {code!r}"]
        return []

    def check(self, model: VoiceModel, early: bool) -> None:
        """Raise the 400 errors; ``early`` is whether optimize_streaming_latency was sent."""
        stitched = self.previous_text or self.next_text or self.previous_request_ids
        if not model.stitches and (stitched or self.next_request_ids or early):
            raise errors.invalid(
                "unsupported_model",
                f"{model.model_id} takes neither previous_text, next_text, request ids nor "
                "optimize_streaming_latency.",
            )
        if not self.text.strip():
            raise errors.invalid("empty_text", "The text must not be empty.", param="text")
        if len(self.text) > model.limit:
            raise errors.invalid(
                "text_too_long",
                f"The text has {len(self.text)} characters, {model.model_id} takes {model.limit}.",
                param="text",
                status="max_character_limit_exceeded",
            )
        self._check_ranges()

    def _check_ranges(self) -> None:
        """Check ranges that the schema does not restrict; the messages are assumptions."""
        settings = self.voice_settings
        if settings is not None and not settings.in_range():
            raise errors.invalid("invalid_voice_settings", "speed or style is out of range.")
        if self.seed is not None and not 0 <= self.seed <= 4294967295:
            raise errors.invalid("invalid_parameters", "seed is out of range.", param="seed")
        ids = (self.previous_request_ids or [], self.next_request_ids or [])
        if max(map(len, ids)) > 3:
            raise errors.invalid("invalid_parameters", "At most three request ids.")


class SpeakQuery(BaseModel):
    """The query of POST /v1/text-to-speech/…."""

    enable_logging: bool = True
    optimize_streaming_latency: int | None = Field(None, ge=0, le=4)
    output_format: str = "mp3_44100_128"


class TranscribeQuery(BaseModel):
    enable_logging: bool = True
    token: str | None = None


def validate(model: type[M], values: Any, *, where: str = "body") -> M:
    """Parse ``values``; raises the service's 422 error, whose ``loc`` begins with ``where``."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        details = [_schema_error(dict(each), where) for each in error.errors(include_url=False)]
        breach = ", ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in details)
        if "body.model_id: Field required" in breach:
            breach += " (the SDK's own retry drops the form: use max_retries=0)"
        raise errors.schema(details, breach) from None


def _schema_error(error: dict[str, Any], where: str) -> dict[str, Any]:
    return {
        "type": error["type"],
        "loc": [where, *error["loc"]],
        "msg": error["msg"],
        "input": None if error["type"] == "missing" else error["input"],
    }


def _is_keyterm(term: str) -> bool:
    return 0 < len(term) < 50 and len(term.split()) <= 5 and not set(term) & set("<>{}[]\\")
