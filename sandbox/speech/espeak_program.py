"""Speaks Arabic with espeak-ng; a program of its own, which nothing here imports.

It loads espeak-ng and Piper's model of vowels, whose licence is the GPL. For each line on standard
input, a text in UTF-8, it writes a line with the rate in samples per second and the number of
bytes, then the samples: mono, signed 16 bit, little-endian.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

import espeakng_loader
from piper.tashkeel import TashkeelDiacritizer

# Constants of speak_lib.h.
_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000
_UTF8 = 1
_RATE_PARAMETER = 1
_WORDS_PER_MINUTE = 140

_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)
# A vowel sign behind anything but a letter or another sign, as the model puts behind digits.
_STRAY_SIGN = re.compile(r"(?<=[^\u0621-\u064a\u064b-\u0652])[\u064b-\u0652]+")


class Espeak:
    """espeak-ng with its Arabic voice; ``rate`` is in samples per second."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        folder = str(Path(espeakng_loader.get_data_path()).parent).encode()
        self.rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, folder, _DO_NOT_EXIT)
        self._pcm = bytearray()
        # Kept, because the library calls it later.
        self._callback = _CALLBACK(self._take)
        self._library.espeak_SetSynthCallback(self._callback)
        if self.rate <= 0 or self._library.espeak_SetVoiceByName(b"ar"):
            sys.exit("espeak-ng has no Arabic voice")
        self._library.espeak_SetParameter(_RATE_PARAMETER, _WORDS_PER_MINUTE, 0)

    def synthesize(self, text: str) -> bytes:
        self._pcm.clear()
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        return bytes(self._pcm)

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _: object) -> int:
        if samples and count > 0:
            self._pcm += ctypes.string_at(samples, 2 * count)
        return 0


def main() -> None:
    espeak, add_vowels = Espeak(), TashkeelDiacritizer()
    for line in sys.stdin.buffer:
        # Without vowel signs espeak-ng leaves out the short vowels.
        text = _STRAY_SIGN.sub("", add_vowels(line.decode().strip()))
        pcm = espeak.synthesize(text)
        sys.stdout.buffer.write(b"%d %d\n" % (espeak.rate, len(pcm)) + pcm)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
