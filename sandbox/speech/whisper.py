"""Whisper, run by faster-whisper."""

from __future__ import annotations

import importlib
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sandbox.speech.models import ModelsMissing
from sandbox.speech.tone import RATE

# Nobody says more tokens a second; the model takes 448 in all, with those of a prompt.
_TOKENS_PER_SECOND = 12
_MOST_TOKENS = 300
# A text that compresses better is the same word again and again, with which a model fills speech
# that it does not understand.
_MOST_COMPRESSION = 2.4


@dataclass(frozen=True)
class Heard:
    """``confidence`` is the mean log probability of the tokens of ``text``: 0 is certain.

    It is minus infinity for a text of repetitions.
    """

    text: str
    confidence: float


class Whisper:
    """A model in CTranslate2 form. Thread-safe; one recording at a time."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        """Load the model, in about a second. Raises ``ModelsMissing``."""
        try:
            package = importlib.import_module("faster_whisper")
        except ImportError as error:
            raise ModelsMissing("faster-whisper") from error
        self._lock = threading.Lock()
        self._model = package.WhisperModel(
            str(folder),
            device="cpu",
            compute_type="int8",
            cpu_threads=threads,
            local_files_only=True,
        )

    def transcribe(self, pcm: bytes, language: str, **options: Any) -> Heard:
        """The words of 16 kHz mono s16le PCM; the text is empty without speech.

        ``language`` is a two-letter code; ``options`` are those of faster-whisper.
        """
        tokens = 20 + _TOKENS_PER_SECOND * len(pcm) // (2 * RATE)
        with self._lock:
            found, _ = self._model.transcribe(
                _floats(pcm),
                language=language,
                # Without voice detection Whisper makes up words in silence. With it, what Whisper
                # itself thinks of that is not asked: it takes synthetic Arabic for silence.
                vad_filter=True,
                no_speech_threshold=None,
                # Unclear speech is not tried again and again.
                temperature=0.0,
                max_new_tokens=min(_MOST_TOKENS, tokens),
                condition_on_previous_text=False,
                # Without timestamps it cannot go on where it stopped, and loses the rest of a
                # window of 30 s in which the model ends early.
                without_timestamps=False,
                **options,
            )
            segments = list(found)
        text = " ".join(segment.text.strip() for segment in segments)
        return Heard(text, fmean(map(_confidence, segments)) if segments else -math.inf)

    def probabilities(self, pcm: bytes) -> dict[str, float]:
        """How probable each language is, by its two-letter code, from 0 to 1."""
        with self._lock:
            _, _, languages = self._model.detect_language(_floats(pcm), vad_filter=True)
        return dict(languages)


def _confidence(segment: Any) -> float:
    if segment.compression_ratio > _MOST_COMPRESSION:
        return -math.inf
    return float(segment.avg_logprob)


def _floats(pcm: bytes) -> Any:
    numpy = importlib.import_module("numpy")
    return numpy.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype("float32") / 32768
