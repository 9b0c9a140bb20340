"""Speech recognition and synthesis for the ElevenLabs stand-in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

PACK_COMMAND = "make demo LANG_PACK=1"
PACK_MISSING = (
    "This did not sound like English, and the models here hear nothing else. "
    f"“{PACK_COMMAND}” installs one that hears Arabic (160 MB)."
)
"""For whoever speaks another language, while the language pack is not installed."""

_ARABIC = re.compile("[\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff]")
_LATIN = re.compile("[A-Za-z]")


@dataclass(frozen=True)
class Transcript:
    """``language`` is ``eng`` or ``ara``, and ``probability`` its probability from 0 to 1.

    ``hint`` is a sentence for whoever tries the sandbox, if the recording asks for something that
    is not installed; the stand-in does not send it to the bridge.
    """

    text: str
    language: str = "eng"
    probability: float = 0.98
    hint: str = ""


@dataclass(frozen=True)
class Sound:
    """Mono signed 16-bit little-endian PCM (s16le) of ``rate`` samples per second."""

    pcm: bytes
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.rate


class Speech(Protocol):
    """An engine for both; safe to use from many threads.

    ``note`` says to people how well it hears and speaks; it is empty if they need not know.
    """

    note: str

    def transcribe(self, pcm: bytes) -> Transcript:
        """Transcribe 16 kHz mono s16le PCM; ``text`` is empty if there are no words."""

    def synthesize(self, text: str, language: str | None) -> Sound:
        """Read ``text`` aloud; ``language`` is a two-letter code, or None to detect it."""


def is_arabic(text: str) -> bool:
    """Whether most letters of ``text`` are Arabic."""
    return len(_ARABIC.findall(text)) > len(_LATIN.findall(text))
