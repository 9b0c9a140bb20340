"""Pure tones: voice notes whose meaning a test can look up by their pitch."""

from __future__ import annotations

import math
import random
import sys
from array import array
from functools import lru_cache
from itertools import pairwise

RATE = 16_000
"""Samples a second of all the PCM here: signed 16 bit, little endian, mono."""

_BLOCK = RATE // 100
_SHORTEST_RUN = 6
_LONGEST_GAP = 3
_QUIET = 500
# Half a second tells the pitch to a fraction of a hertz; more would only take time.
_ENOUGH = RATE // 2


def sine(frequency_hz: int, seconds: float, *, margin: float = 0.1) -> bytes:
    """PCM of ``seconds`` of a tone, with ``margin`` seconds of silence at both ends."""
    quiet = silence(margin)
    return quiet + _repeated(_second(frequency_hz), seconds) + quiet


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


def noise(seconds: float, *, seed: int = 1) -> bytes:
    """PCM of white noise; nothing can be heard in it."""
    dice = random.Random(seed)
    return _bytes(array("h", (dice.randrange(-9000, 9000) for _ in range(round(seconds * RATE)))))


def pitches(pcm: bytes) -> list[float]:
    """The frequency in Hz of every tone in ``pcm``, in order; tones are parted by silence.

    What does not swing evenly (noise, speech) has no pitch and is left out.
    """
    samples = _samples(pcm)
    found = [_pitch(samples[start:end]) for start, end in _runs(samples)]
    return [pitch for pitch in found if pitch is not None]


@lru_cache(maxsize=512)
def _second(frequency_hz: int) -> bytes:
    """One second of the tone; a whole number of swings, so that it can be repeated."""
    step = 2 * math.pi * frequency_hz / RATE
    return _bytes(array("h", (round(12_000 * math.sin(step * n)) for n in range(RATE))))


def _repeated(second: bytes, seconds: float) -> bytes:
    size = 2 * round(seconds * RATE)
    return (second * (size // len(second) + 1))[:size]


def _bytes(samples: array[int]) -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _samples(pcm: bytes) -> array[int]:
    samples = array("h", pcm[: len(pcm) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _runs(samples: array[int]) -> list[tuple[int, int]]:
    """Where the sound is: (first, last + 1) sample of each stretch between silences."""
    peaks = [
        max(map(abs, block))
        for start in range(0, len(samples), _BLOCK)
        if (block := samples[start : start + _BLOCK])
    ]
    threshold = max(_QUIET, max(peaks, default=0) // 4)
    loud = [number for number, peak in enumerate(peaks) if peak > threshold]
    runs: list[tuple[int, int]] = []
    for number in loud:
        if runs and number - runs[-1][1] <= _LONGEST_GAP:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return [(start * _BLOCK, end * _BLOCK) for start, end in runs if end - start >= _SHORTEST_RUN]


def _pitch(samples: array[int]) -> float | None:
    """Swings a second in the middle of ``samples``, or None when they are uneven."""
    trim = max(_BLOCK, (len(samples) - _ENOUGH) // 2)
    middle = samples[trim:-trim]
    if not middle:
        return None
    crossings = _upward_crossings(middle)
    if len(crossings) < 3:
        return None
    period = (crossings[-1] - crossings[0]) / (len(crossings) - 1)
    uneven = sum(abs(b - a - period) > period / 4 for a, b in pairwise(crossings))
    return RATE / period if uneven <= len(crossings) / 10 else None


def _upward_crossings(samples: array[int]) -> list[float]:
    """Where the wave rises through zero, in samples, interpolated."""
    return [
        position + before / (before - after)
        for position, (before, after) in enumerate(pairwise(samples))
        if before < 0 <= after
    ]
