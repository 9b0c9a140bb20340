"""Turns a message into the question for the agent: its text, or the transcript of its recording."""

from __future__ import annotations

import time
from dataclasses import dataclass

from core.models import Inbound, Kind
from media import VoiceNoteLoader
from metrics import Metrics
from speech.elevenlabs import Speech
from text.phrases import Phrases
from turns.stage_log import log_stage


@dataclass(frozen=True)
class Question:
    """The question for the agent.

    ``language`` is an ISO 639-1 code. ``spoken``: the question came as a voice note. ``waited`` is
    how long the turn has waited for providers so far, in seconds.
    """

    text: str
    language: str | None
    spoken: bool = False
    waited: float = 0.0


class QuestionReader:
    """Thread-safe."""

    def __init__(
        self,
        *,
        voice_note_loader: VoiceNoteLoader,
        speech: Speech,
        phrases: Phrases,
        metrics: Metrics,
    ) -> None:
        self._voice_note_loader = voice_note_loader
        self._speech = speech
        self._phrases = phrases
        self._metrics = metrics

    def read(self, message: Inbound, language: str | None) -> Question:
        """The question; ``language`` is the sender's, as far as it is known.

        Raises ``MediaError``, ``AudioError`` or ``SpeechError``.
        """
        if message.kind is Kind.VOICE:
            self._metrics.count("voice_notes_received")
            return self._transcribe(message, language)
        if message.kind is Kind.LOCATION:
            text = self._phrases.translate("location", language, place=message.text)
            return Question(text, language)
        language = self._phrases.detect_language(message.text, language)
        if message.attachment:
            unseen = self._phrases.translate("file_unseen", language)
            return Question(f"{unseen}\n{message.text}", language)
        return Question(message.text, language)

    def _transcribe(self, message: Inbound, language: str | None) -> Question:
        recording = self._voice_note_loader.load(message.media_url)
        log_stage(self._metrics, "download_time", "Download", recording.download_time)
        self._metrics.record_time("convert_time", recording.convert_time)
        started = time.monotonic()
        transcript = self._speech.transcribe(recording.pcm)
        stt_seconds = time.monotonic() - started
        log_stage(self._metrics, "stt_time", "STT", stt_seconds)
        return Question(
            text=transcript.text,
            language=transcript.language or language,
            spoken=True,
            waited=recording.download_time + stt_seconds,
        )
