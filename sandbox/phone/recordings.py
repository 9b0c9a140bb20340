"""Recordings: from the browser to voice notes, and what the page shows of a voice note."""

from __future__ import annotations

import io
import wave
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sandbox.json_api import InvalidRequest
from sandbox.speech import Speech
from sandbox.speech.codec import Codec, Undecodable
from sandbox.speech.tone import RATE

SAMPLES = Path(__file__).parents[1] / "demo" / "recordings"
# How many bars a waveform has.
BARS = 40
# A note that is shorter was a slip of the finger; WhatsApp does not send those either.
SHORTEST_SECONDS = 0.3


@dataclass(frozen=True)
class Shape:
    """The length of a voice note in seconds, and the loudness of its parts, from 0 to 100."""

    seconds: float
    bars: Sequence[int]


class Recordings:
    """Converts, measures and transcribes recordings. Thread-safe."""

    def __init__(self, *, speech: Speech, codec: Codec) -> None:
        self._speech = speech
        self._codec = codec
        self._decode = lru_cache(maxsize=64)(codec.decode)
        self.shape = lru_cache(maxsize=256)(self._shape)
        self.transcript = lru_cache(maxsize=256)(self._transcript)

    @property
    def speech_note(self) -> str:
        """How well the local speech engine hears and speaks, in a sentence or two."""
        return self._speech.note

    def note(self, recording: bytes) -> bytes:
        """The recording of a browser, as WhatsApp sends it: Ogg/Opus, mono, 16 kHz.

        Raises ``InvalidRequest``.
        """
        try:
            pcm = self._codec.decode(recording)
        except Undecodable:
            raise InvalidRequest("The recording cannot be decoded.") from None
        if len(pcm) < 2 * RATE * SHORTEST_SECONDS:
            raise InvalidRequest("The recording is too short.")
        return self._codec.note(pcm)

    def wav(self, audio: bytes) -> bytes:
        """For browsers that cannot play Ogg/Opus."""
        file = io.BytesIO()
        with wave.open(file, "wb") as target:
            target.setnchannels(1)
            target.setsampwidth(2)
            target.setframerate(RATE)
            target.writeframes(self._decode(audio))
        return file.getvalue()

    def _shape(self, audio: bytes) -> Shape:
        try:
            samples = array("h", self._decode(audio))
        except Undecodable:
            return Shape(0.0, ())
        size = max(len(samples) // BARS, 1)
        peaks = [max(map(abs, samples[start : start + size])) for start in _starts(samples, size)]
        loudest = max(peaks, default=0) or 1
        return Shape(len(samples) / RATE, [round(100 * peak / loudest) for peak in peaks])

    def _transcript(self, audio: bytes) -> str:
        """The words of a voice note, as the local speech engine understands them."""
        return self._speech.transcribe(self._decode(audio)).text


def _starts(samples: Sequence[int], size: int) -> list[int]:
    return list(range(0, len(samples), size))[:BARS]


def samples() -> list[str]:
    """The names of the recordings that can be sent without a microphone."""
    return sorted(file.stem for file in SAMPLES.glob("*.ogg"))


def sample(name: object) -> bytes:
    """Raises ``InvalidRequest``."""
    if name not in samples():
        raise InvalidRequest("There is no such recording.")
    return (SAMPLES / f"{name}.ogg").read_bytes()
