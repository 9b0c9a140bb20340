"""Real speech recognition and synthesis with local models."""

from __future__ import annotations

import importlib
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sandbox.speech import Sound, Transcript, is_arabic, models
from sandbox.speech.fixture import tone_for_text
from sandbox.speech.piper import PiperProcess
from sandbox.speech.tone import RATE

_ARABIC_TONE_HZ = 440


class LocalSpeech:
    """Whisper (tiny.en) for recognition and Piper (voice ``joe``) for synthesis. English only.

    Arabic speech is transcribed as similar English words, with language ``eng``. Arabic text
    becomes a tone as long as the speech would be. Call ``close`` at the end.
    """

    def __init__(self, *, threads: int = 2) -> None:
        """Load the models, in about a second. Raises ``ModelsMissing``."""
        self._lock = threading.Lock()
        voice = _voice()
        self._whisper = _whisper(threads)
        self._piper = PiperProcess(voice=voice)

    def transcribe(self, pcm: bytes) -> Transcript:
        """Transcribe 16 kHz mono s16le PCM as English; the text is empty without speech."""
        with self._lock:
            segments, info = self._whisper.transcribe(
                _floats(pcm),
                language="en",
                beam_size=1,
                # Without voice detection Whisper makes up words in silence.
                vad_filter=True,
                condition_on_previous_text=False,
                # Without timestamps it cannot go on where it stopped, and loses the rest of a
                # window of 30 s in which the model ends early.
                without_timestamps=False,
            )
            text = " ".join(segment.text.strip() for segment in segments)
        return Transcript(text, "eng", float(info.language_probability) if text else 0.0)

    def synthesize(self, text: str, language: str | None) -> Sound:
        """Speech for English, a tone for Arabic, 0.4 s of silence for a text without words."""
        if language == "ar" or is_arabic(text):
            return tone_for_text(text, _ARABIC_TONE_HZ)
        if not any(character.isalnum() for character in text):
            return Sound(bytes(2 * RATE // 5), RATE)
        # Piper reads text in double brackets as phonemes.
        return self._piper.synthesize(text.replace("[[", "[").replace("]]", "]"))

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
