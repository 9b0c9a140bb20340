"""Speech without models: tones stand for words."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from sandbox.speech import Sound, Transcript, is_arabic, tone

SECONDS_PER_CHARACTER = 0.06
TOLERANCE_HZ = 2.0
_MARGIN_SECONDS = 0.05
_SHORTEST_SECONDS = 0.1


def tone_for_text(text: str, frequency_hz: int) -> Sound:
    """A tone as long as it takes to read ``text`` aloud: 60 ms per character."""
    seconds = len(text) * SECONDS_PER_CHARACTER - 2 * _MARGIN_SECONDS
    pcm = tone.sine(frequency_hz, max(_SHORTEST_SECONDS, seconds), margin=_MARGIN_SECONDS)
    return Sound(pcm, tone.RATE)


class ToneRegistry:
    """Which tone stands for which transcript. Thread-safe."""

    ANSWER_TONES_HZ = range(1000, 1900, 5)
    """Tones for synthesized answers; tests register tones for questions from 200 Hz upwards."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._transcripts: dict[int, Transcript] = {}
        self._answer_tones: OrderedDict[str, int] = OrderedDict()

    def add(self, frequency_hz: int, transcript: Transcript) -> None:
        """From now on, a tone of ``frequency_hz`` has this transcript."""
        with self._lock:
            self._transcripts[frequency_hz] = transcript

    def assign(self, transcript: Transcript) -> int:
        """The frequency in Hz that stands for a synthesized text from now on.

        The same text keeps its tone. If all tones are in use, the oldest text loses its tone.
        """
        with self._lock:
            if transcript.text not in self._answer_tones:
                frequency = self._free_frequency(transcript.text)
                self._answer_tones[transcript.text] = frequency
                self._transcripts[frequency] = transcript
            return self._answer_tones[transcript.text]

    def find(self, frequency_hz: float) -> Transcript | None:
        """The transcript of a measured tone; None if no registered tone is near enough."""
        with self._lock:
            nearest = min(
                self._transcripts, key=lambda known: abs(known - frequency_hz), default=None
            )
            if nearest is None or abs(nearest - frequency_hz) > TOLERANCE_HZ:
                return None
            return self._transcripts[nearest]

    def _free_frequency(self, text: str) -> int:
        tones = self.ANSWER_TONES_HZ
        if len(self._answer_tones) == len(tones):
            return self._answer_tones.popitem(last=False)[1]
        in_use = set(self._answer_tones.values())
        first = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        candidates = (tones[(first + step) % len(tones)] for step in range(len(tones)))
        return next(frequency for frequency in candidates if frequency not in in_use)


class FixtureSpeech:
    """Speech without models: the pitch of a voice note decides its transcript.

    Because the pitch is measured, parallel voice notes cannot be confused, and a wrong sample rate
    is noticed.
    """

    note = ""

    def __init__(self) -> None:
        self.tones = ToneRegistry()

    def transcribe(self, pcm: bytes) -> Transcript:
        """The transcripts of all registered tones in ``pcm``, in order, joined by spaces."""
        found = [known for pitch in tone.pitches(pcm) if (known := self.tones.find(pitch))]
        if not found:
            return Transcript("", probability=0.2)
        text = " ".join(each.text for each in found)
        return Transcript(text, found[0].language, min(each.probability for each in found))

    def synthesize(self, text: str, language: str | None) -> Sound:
        """A tone of 60 ms per character, for which :meth:`transcribe` returns the text."""
        arabic = is_arabic(text) if language is None else language == "ar"
        transcript = Transcript(text, "ara" if arabic else "eng")
        return tone_for_text(text, self.tones.assign(transcript))
