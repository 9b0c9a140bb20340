"""A spoken answer transcribed, and held against what should have been said."""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from sandbox.agentforce.wording import words
from sandbox.speech import Speech
from sandbox.speech.codec import Codec, Undecodable

# The small model mishears about a word in ten: answers that are whole match by 0.86 to 0.95. One
# that lacks a third of its words, repeats some or has them in another order stays below this.
ENOUGH = 0.7


@dataclass(frozen=True)
class RoundTrip:
    """What was understood, and its likeness to the text, from 0 to 1."""

    text: str
    match: float

    @property
    def understood(self) -> bool:
        return self.match >= ENOUGH


def check_round_trip(audio: bytes, expected: str, *, speech: Speech, codec: Codec) -> RoundTrip:
    """Transcribe ``audio`` and compare it with ``expected`` word by word, in order."""
    try:
        heard = speech.transcribe(codec.decode(audio)).text
    except Undecodable:
        heard = ""
    return RoundTrip(heard, Levenshtein.normalized_similarity(words(expected), words(heard)))
