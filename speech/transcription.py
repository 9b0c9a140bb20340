"""Speech to text: the words in a voice note."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from elevenlabs.base_client import BaseElevenLabs

from audio.ffmpeg import pcm_seconds
from core.errors import NothingHeard
from speech.endpoint import Endpoint
from text.language_detection import has_words
from text.languages import two_letters
from text.markdown import clean

TIMEOUT_SECONDS = 30
# Batch transcription of long recordings is faster than real time by far.
TIMEOUT_PER_SECOND_OF_AUDIO = 0.2

# Sounds that a transcript describes: "(laughs)", "[music]", "*sighs*", "♪ la la ♪".
_SOUND = re.compile(r"\([^()]*+\)|\[[^\[\]]*+\]|（[^（）]*+）|【[^【】]*+】|\*[^*]*+\*|♪[^♪]*+♪")


@dataclass(frozen=True)
class Transcript:
    """The words of a recording, and their language (ISO 639-1) where that is known."""

    text: str
    language: str | None


class Transcriber:
    """Transcribes with one model. ``key_terms`` are words that it is to spell like that."""

    def __init__(
        self,
        *,
        client: BaseElevenLabs,
        endpoint: Endpoint,
        model: str,
        key_terms: Sequence[str],
        least_confidence: float,
        timeout_factor: float,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._model = model
        self._key_terms = key_terms
        self._least_confidence = least_confidence
        self._timeout_factor = timeout_factor

    def transcribe(self, pcm: bytes) -> Transcript:
        """The words in 16 kHz mono PCM.

        Raises ``NothingHeard`` where there are none or too uncertain ones, else ``SpeechError``.
        """
        answer = self._endpoint.call(lambda: self._request(pcm))
        text = clean(answer.text or "").strip()
        confidence = answer.language_probability
        if not has_speech(text):
            raise NothingHeard
        if confidence is not None and confidence < self._least_confidence:
            raise NothingHeard("the transcription is too uncertain")
        # A code is no sample of a language: "INV 2024" counts as English anywhere.
        return Transcript(text, two_letters(answer.language_code) if has_words(text) else None)

    def _request(self, pcm: bytes) -> Any:
        seconds = TIMEOUT_SECONDS + pcm_seconds(pcm) * TIMEOUT_PER_SECOND_OF_AUDIO
        answer = self._client.speech_to_text.with_raw_response.convert(
            model_id=self._model,
            # Sent in portions; bytes would be copied again for each part that the socket takes.
            file=("note.pcm", io.BytesIO(pcm), "application/octet-stream"),
            file_format="pcm_s16le_16",
            tag_audio_events=False,
            timestamps_granularity="none",
            keyterms=list(self._key_terms),
            # The SDK's own retry drops every form field
            # (docs/providers/elevenlabs.md, "Python library").
            request_options={
                "timeout_in_seconds": seconds * self._timeout_factor,
                "max_retries": 0,
            },
        )
        self._endpoint.set_limit(answer.headers)
        return answer.data


def has_speech(text: str) -> bool:
    """Whether a transcript has a letter or a digit that describes no sound."""
    return any(character.isalnum() for character in _SOUND.sub("", text))
