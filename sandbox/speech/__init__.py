"""Hearing and speaking, as the ElevenLabs stand-in needs it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

_ARABIC = re.compile("[\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff]")
_LATIN = re.compile("[A-Za-z]")


@dataclass(frozen=True)
class Heard:
    """A transcript; ``language`` is ``eng`` or ``ara``, ``probability`` goes from 0 to 1."""

    text: str
    language: str = "eng"
    probability: float = 0.98


@dataclass(frozen=True)
class Sound:
    """Mono signed 16-bit little-endian PCM of ``rate`` samples a second."""

    pcm: bytes
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.rate


class Speech(Protocol):
    """What hears and speaks behind the stand-in; safe to use from many threads."""

    def hear(self, pcm: bytes) -> Heard:
        """The words in 16 kHz mono s16le PCM; ``text`` is empty when there are none."""

    def say(self, text: str, language: str | None) -> Sound:
        """``text`` spoken; ``language`` is a two-letter code or None for the text's own."""


def is_arabic(text: str) -> bool:
    """Whether most letters of ``text`` are Arabic."""
    return len(_ARABIC.findall(text)) > len(_LATIN.findall(text))
