"""Text to speech: synthesises a segment with the configured voice, as Ogg/Opus."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from elevenlabs.base_client import BaseElevenLabs

from audio import formats as container
from audio.ffmpeg import Ffmpeg
from core.errors import SpeechUnavailable
from metrics import Metrics
from speech.endpoint import Endpoint
from speech.refusals import FormatRefused
from speech.spoken_text import to_spoken_text
from speech.voice_models import find_voice_model

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 30

OPUS = "opus_48000_32"
# Used if the plan refuses Opus; every plan includes this format
# (docs/providers/elevenlabs.md, "Output formats").
MP3 = "mp3_44100_128"
# After a refusal, Opus is requested again after this time, because the plan may change.
OPUS_PAUSE_SECONDS = 3600.0
# No request costs more than this; a larger number is an error.
MAX_CREDITS = 1_000_000
CONTAINERS = {OPUS: container.OPUS, MP3: container.MP3}


class Voice:
    """One voice of ElevenLabs, spoken by one model."""

    def __init__(
        self,
        *,
        client: BaseElevenLabs,
        endpoint: Endpoint,
        ffmpeg: Ffmpeg,
        metrics: Metrics,
        voice_id: str,
        model: str,
        timeout_factor: float,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._ffmpeg = ffmpeg
        self._metrics = metrics
        self._voice_id = voice_id
        self._model_name = model
        self._model = find_voice_model(model)
        self._timeout_factor = timeout_factor
        self._lock = threading.Lock()
        self._format = OPUS
        # When to request Opus again after a refusal (monotonic seconds).
        self._opus_due_at = 0.0

    def synthesize(
        self, text: str, language: str | None, *, previous: str, following: str
    ) -> bytes:
        """Synthesise ``text`` as Ogg/Opus. Raises ``SpeechError``.

        ``previous`` and ``following`` are the texts before and after it, for the intonation.
        """
        words = self._normalize(text, language)
        self._metrics.count("speech_characters", len(words))
        request = {"text": words, "model_id": self._model_name}
        if code := self._model.language_code(language):
            request["language_code"] = code
        if self._model.takes_context:
            request |= {"previous_text": previous} if previous else {}
            request |= {"next_text": following} if following else {}
        return self._synthesize_opus(request)

    @property
    def has_opus(self) -> bool:
        """Whether the plan includes Ogg/Opus, as far as it was asked for."""
        return self._format == OPUS

    def key(self, text: str, language: str | None) -> tuple[str | None, ...]:
        """Everything that the audio of ``text`` depends on, except for the texts around it."""
        words, code = self._normalize(text, language), self._model.language_code(language)
        return self._voice_id, self._model_name, code, words, self._format

    def _normalize(self, text: str, language: str | None) -> str:
        return to_spoken_text(text, language, with_numbers=not self._model.reads_numbers)

    def _synthesize_opus(self, request: dict[str, str]) -> bytes:
        if self._may_request_opus():
            try:
                audio = self._submit(request, OPUS)
            except FormatRefused as error:
                self._record_format_refusal(error)
            else:
                self._format = OPUS
                return audio
        return self._ffmpeg.encode_note(self._submit(request, MP3))

    def _may_request_opus(self) -> bool:
        """Whether to request Opus; once it is due after a refusal, one segment tries it again."""
        with self._lock:
            if self._format == OPUS:
                return True
            due = time.monotonic() >= self._opus_due_at
            if due:
                self._opus_due_at = time.monotonic() + OPUS_PAUSE_SECONDS
            return due

    def _record_format_refusal(self, refusal: FormatRefused) -> None:
        with self._lock:
            known, self._format = self._format == MP3, MP3
            self._opus_due_at = time.monotonic() + OPUS_PAUSE_SECONDS
        if not known:
            reason = str(refusal)
            log.warning("The ElevenLabs plan has no Opus; encoding voice notes here", error=reason)

    def _submit(self, request: dict[str, str], output_format: str) -> bytes:
        return self._endpoint.call(lambda: self._request(request, output_format))

    def _request(self, request: dict[str, str], output_format: str) -> bytes:
        # Read the response as a whole: in the SDK's stream it would arrive in many small chunks.
        convert: Callable[..., Any] = self._client.text_to_speech.with_raw_response.convert
        with convert(
            self._voice_id,
            output_format=output_format,
            request_options={
                "timeout_in_seconds": TIMEOUT_SECONDS * self._timeout_factor,
                "chunk_size": None,
            },
            **request,
        ) as answer:
            audio = b"".join(answer.data)
        self._endpoint.set_limit(answer.headers)
        self._metrics.count("speech_credits", _read_credits(answer.headers))
        if container.detect_format(audio) != CONTAINERS[output_format]:
            # Otherwise it would be cached, and sent again and again.
            raise SpeechUnavailable("ElevenLabs sent something else than audio")
        return audio


def _read_credits(headers: Mapping[str, str]) -> int:
    """The credits that a request cost; 0 if unknown.

    docs/providers/elevenlabs.md, "Response headers".
    """
    try:
        credits = float(headers.get("character-cost", ""))
    except ValueError:
        return 0
    return round(credits) if 0 <= credits < MAX_CREDITS else 0
