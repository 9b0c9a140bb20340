"""Speech to text: the words in a voice note."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from elevenlabs.base_client import BaseElevenLabs

from audio.trimming import pcm_seconds
from core.errors import NothingHeard
from metrics import Metrics
from speech.endpoint import Endpoint
from text.language_detection import has_words
from text.languages import two_letters
from text.markdown import clean

TIMEOUT_SECONDS = 30
# Batch transcription of long recordings is far faster than real time.
TIMEOUT_PER_SECOND_OF_AUDIO = 0.2

# Descriptions of sounds in a transcript: "(laughs)", "[music]", "*sighs*", "♪ la la ♪".
_SOUND = re.compile(r"\([^()]*+\)|\[[^\[\]]*+\]|（[^（）]*+）|【[^【】]*+】|\*[^*]*+\*|♪[^♪]*+♪")


@dataclass(frozen=True)
class Transcript:
    """The words of a recording, and their language (ISO 639-1) if it is known."""

    text: str
    language: str | None


class Transcriber:
    """Transcribes with one model. ``keyterms`` are terms that transcripts spell as written."""

    def __init__(
        self,
        *,
        client: BaseElevenLabs,
        endpoint: Endpoint,
        metrics: Metrics,
        model: str,
        keyterms: Sequence[str],
        min_confidence: float,
        timeout_factor: float,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._metrics = metrics
        self._model = model
        self._keyterms = keyterms
        self._min_confidence = min_confidence
        self._timeout_factor = timeout_factor

    def transcribe(self, pcm: bytes) -> Transcript:
        """Transcribe 16 kHz mono PCM.

        Raises ``NothingHeard`` if there are no words or they are too uncertain, or another
        ``SpeechError``.
        """
        answer = self._endpoint.call(lambda: self._request(pcm))
        text = clean(answer.text or "").strip()
        confidence = answer.language_probability
        if not has_speech(text):
            raise NothingHeard
        if confidence is not None and confidence < self._min_confidence:
            raise NothingHeard("the transcription is too uncertain")
        # Codes do not tell a language: "INV 2024" would always count as English.
        return Transcript(text, two_letters(answer.language_code) if has_words(text) else None)

    def _request(self, pcm: bytes) -> Any:
        duration = pcm_seconds(pcm)
        seconds = TIMEOUT_SECONDS + duration * TIMEOUT_PER_SECOND_OF_AUDIO
        answer = self._client.speech_to_text.with_raw_response.convert(
            model_id=self._model,
            # A file is sent in chunks; bytes would be copied again for each part that is sent.
            file=("note.pcm", io.BytesIO(pcm), "application/octet-stream"),
            file_format="pcm_s16le_16",
            tag_audio_events=False,
            timestamps_granularity="none",
            keyterms=list(self._keyterms),
            # The SDK's retry would drop all form fields
            # (docs/providers/elevenlabs.md, "Python library").
            request_options={
                "timeout_in_seconds": seconds * self._timeout_factor,
                "max_retries": 0,
            },
        )
        self._endpoint.set_limit(answer.headers)
        self._metrics.count("transcribed_seconds", math.ceil(duration))
        return answer.data


def has_speech(text: str) -> bool:
    """Whether a transcript has letters or digits besides descriptions of sounds."""
    return any(character.isalnum() for character in _SOUND.sub("", text))
