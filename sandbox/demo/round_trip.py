"""The round-trip check: transcribes a voice answer and compares it with its text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from num2words import num2words
from rapidfuzz.distance import Levenshtein

from sandbox.agentforce.wording import words
from sandbox.speech import Speech
from sandbox.speech.codec import Codec, Undecodable

# The small model mishears a few words, so complete answers of the help desk match by 0.90 to 1.00.
# An answer of several sentences that lacks a quarter, repeats or reorders it has less than this.
LEAST_MATCH = 0.85


@dataclass(frozen=True)
class RoundTrip:
    """The transcript, and its similarity to the expected text, from 0 to 1."""

    transcript: str
    match: float

    @property
    def passed(self) -> bool:
        return self.match >= LEAST_MATCH


def check_round_trip(audio: bytes, expected: str, *, speech: Speech, codec: Codec) -> RoundTrip:
    """Transcribe ``audio`` and compare it with ``expected``, in order."""
    try:
        text = speech.transcribe(codec.decode(audio)).text
    except Undecodable:
        text = ""
    return RoundTrip(text, Levenshtein.normalized_similarity(_letters(expected), _letters(text)))


def _letters(text: str) -> str:
    """The letters of ``text`` with numbers spelt out, because a transcript writes 5 for “five”.

    Without spaces, because it also writes “all right” as one word or as two. A word that was
    misheard differs by some of its letters only, but one that is missing by all of them.
    """
    spelt = re.sub(r"\d{1,15}", lambda number: f" {num2words(int(number[0]))} ", text)
    return "".join(words(spelt))
