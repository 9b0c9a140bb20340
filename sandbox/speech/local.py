"""Hearing and speaking for real, on this computer."""

from __future__ import annotations

import importlib
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sandbox.speech import Heard, Sound, is_arabic, models
from sandbox.speech.fixture import tone_of
from sandbox.speech.piper import PiperProcess
from sandbox.speech.tone import RATE

_HUM_HZ = 440


class LocalSpeech:
    """Whisper (tiny.en) hears, Piper (voice ``joe``) speaks. English only.

    Arabic speech is heard as whatever English it resembles, with language ``eng``. Arabic text is
    not spoken: it becomes a tone as long as the speech would be. Close it when done.
    """

    def __init__(self, *, threads: int = 2) -> None:
        """Load the models, about a second; raises :class:`sandbox.models.ModelsMissing`."""
        self._lock = threading.Lock()
        voice = _voice()
        self._whisper = _whisper(threads)
        self._piper = PiperProcess(voice=voice)

    def hear(self, pcm: bytes) -> Heard:
        """The English words in 16 kHz mono s16le PCM; empty text when no one speaks."""
        # Whisper makes words up in silence; the voice detector in front of it does not.
        with self._lock:
            segments, info = self._whisper.transcribe(
                _floats(pcm),
                language="en",
                beam_size=1,
                vad_filter=True,
                condition_on_previous_text=False,
                without_timestamps=True,
            )
            text = " ".join(segment.text.strip() for segment in segments)
        return Heard(text, "eng", float(info.language_probability) if text else 0.0)

    def say(self, text: str, language: str | None) -> Sound:
        """Speech for English, a tone for Arabic, a moment of silence for no words at all."""
        if language == "ar" or is_arabic(text):
            return tone_of(text, _HUM_HZ)
        if not any(character.isalnum() for character in text):
            return Sound(bytes(2 * RATE // 5), RATE)
        # Double brackets would be read as phonemes.
        return self._piper.say(text.replace("[[", "[").replace("]]", "]"))

    def close(self) -> None:
        self._piper.close()


def _whisper(threads: int) -> Any:
    folder = models.whisper()
    try:
        package = importlib.import_module("faster_whisper")
    except ImportError as error:
        raise models.ModelsMissing("faster-whisper") from error
    return package.WhisperModel(
        str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
    )


def _voice() -> Path:
    if find_spec("piper") is None:
        raise models.ModelsMissing("piper-tts")
    return models.voice()


def _floats(pcm: bytes) -> Any:
    numpy = importlib.import_module("numpy")
    return numpy.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype("float32") / 32768
