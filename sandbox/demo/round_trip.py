"""The round-trip check: transcribes a voice answer and compares it with its text."""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from sandbox.agentforce.wording import words
from sandbox.speech import Speech
from sandbox.speech.codec import Codec, Undecodable

# The small model gets about one word in ten wrong, so complete answers match by 0.86 to 0.95. An
# answer that lacks a third of its words, repeats or reorders them has less than this.
LEAST_MATCH = 0.7


@dataclass(frozen=True)
class RoundTrip:
    """The transcript, and its similarity to the expected text, from 0 to 1."""

    transcript: str
    match: float

    @property
    def passed(self) -> bool:
        return self.match >= LEAST_MATCH


def check_round_trip(audio: bytes, expected: str, *, speech: Speech, codec: Codec) -> RoundTrip:
    """Transcribe ``audio`` and compare it with ``expected`` word by word, in order."""
    try:
        text = speech.transcribe(codec.decode(audio)).text
    except Undecodable:
        text = ""
    return RoundTrip(text, Levenshtein.normalized_similarity(words(expected), words(text)))
