"""Speech without models: tones that stand for words."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from sandbox.speech import Heard, Sound, is_arabic, tone


def tone_of(text: str, frequency_hz: int) -> Sound:
    """A tone as long as it takes to read ``text`` out: 60 ms a character."""
    margin = 0.05
    seconds = max(0.1, len(text) * FixtureSpeech.SECONDS_PER_CHARACTER - 2 * margin)
    return Sound(tone.sine(frequency_hz, seconds, margin=margin), tone.RATE)


class ToneTexts:
    """Which tone means what."""

    TOLERANCE_HZ = 2.0
    SPOKEN = range(1000, 1900, 5)
    """Tones for spoken answers; tests register their questions below, from 200 Hz up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, Heard] = {}
        self._spoken: OrderedDict[str, int] = OrderedDict()

    def add(self, frequency_hz: int, heard: Heard) -> None:
        """Let a note that tones ``frequency_hz`` be heard as ``heard``."""
        with self._lock:
            self._known[frequency_hz] = heard

    def spoken(self, heard: Heard) -> int:
        """The tone, in Hz, that stands for a spoken text from now on.

        The same text keeps its tone. When there are more texts than tones the oldest gives way.
        """
        with self._lock:
            if heard.text not in self._spoken:
                frequency = self._free(heard.text)
                self._spoken[heard.text] = frequency
                self._known[frequency] = heard
            return self._spoken[heard.text]

    def meaning(self, frequency_hz: float) -> Heard | None:
        """What a measured tone means; None when no registered tone is near."""
        with self._lock:
            near = [
                known for known in self._known if abs(known - frequency_hz) <= self.TOLERANCE_HZ
            ]
            return (
                self._known[min(near, key=lambda known: abs(known - frequency_hz))]
                if near
                else None
            )

    def _free(self, text: str) -> int:
        if len(self._spoken) == len(self.SPOKEN):
            return self._spoken.popitem(last=False)[1]
        taken = set(self._spoken.values())
        first = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        slots = (self.SPOKEN[(first + step) % len(self.SPOKEN)] for step in range(len(self.SPOKEN)))
        return next(slot for slot in slots if slot not in taken)


class FixtureSpeech:
    """Speech without models: a note is a tone, and its pitch says which transcript it has.

    Measuring the pitch, rather than taking transcripts in turn, keeps parallel notes apart and
    proves that the sample rate was right.
    """

    SECONDS_PER_CHARACTER = 0.06

    def __init__(self) -> None:
        self.tones = ToneTexts()

    def hear(self, pcm: bytes) -> Heard:
        """The meanings of all registered tones in ``pcm``, in order, joined by a space."""
        heard = [meaning for pitch in tone.pitches(pcm) if (meaning := self.tones.meaning(pitch))]
        if not heard:
            return Heard("", probability=0.2)
        text = " ".join(each.text for each in heard)
        return Heard(text, heard[0].language, min(each.probability for each in heard))

    def say(self, text: str, language: str | None) -> Sound:
        """A tone of 60 ms a character; :meth:`hear` gives the text back."""
        arabic = is_arabic(text) if language is None else language == "ar"
        return tone_of(text, self.tones.spoken(Heard(text, "ara" if arabic else "eng")))
