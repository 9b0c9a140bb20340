"""Generates pure tones and measures their pitch, by which a test identifies a voice note."""

from __future__ import annotations

import math
import random
import sys
from array import array
from functools import lru_cache
from itertools import pairwise

RATE = 16_000
"""Samples per second of all PCM in this module: signed 16 bit, little endian, mono."""

# Samples per block of 10 ms, in which the volume is measured.
_BLOCK = RATE // 100
# A tone has at least so many loud blocks, and at most so many quiet blocks inside it.
_SHORTEST_RUN_BLOCKS = 6
_LONGEST_GAP_BLOCKS = 3
# Samples below this amplitude are silence.
_QUIET = 500
# Half a second is enough to measure the pitch to a fraction of a hertz.
_MEASURED_SAMPLES = RATE // 2
_AMPLITUDE = 12_000
_NOISE_AMPLITUDE = 9000


def sine(frequency_hz: int, seconds: float, *, margin: float = 0.1) -> bytes:
    """PCM of a tone of ``seconds``, with ``margin`` seconds of silence at both ends."""
    quiet = silence(margin)
    return quiet + _repeat(_one_second(frequency_hz), seconds) + quiet


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


def noise(seconds: float, *, seed: int = 1) -> bytes:
    """PCM of white noise, in which :func:`pitches` finds nothing."""
    rng = random.Random(seed)
    samples = (
        rng.randrange(-_NOISE_AMPLITUDE, _NOISE_AMPLITUDE) for _ in range(round(seconds * RATE))
    )
    return _bytes(array("h", samples))


def pitches(pcm: bytes) -> list[float]:
    """The frequency in Hz of every tone in ``pcm``, in order; tones are separated by silence.

    Sounds without a constant period, such as noise or speech, are left out.
    """
    samples = _samples(pcm)
    found = [_pitch(samples[start:end]) for start, end in _runs(samples)]
    return [pitch for pitch in found if pitch is not None]


@lru_cache(maxsize=512)
def _one_second(frequency_hz: int) -> bytes:
    """One second of the tone: a whole number of periods, so that it can be repeated."""
    step = 2 * math.pi * frequency_hz / RATE
    return _bytes(array("h", (round(_AMPLITUDE * math.sin(step * n)) for n in range(RATE))))


def _repeat(second: bytes, seconds: float) -> bytes:
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
    """The (first, last + 1) sample of each sound between silences."""
    peaks = [
        max(map(abs, block))
        for start in range(0, len(samples), _BLOCK)
        if (block := samples[start : start + _BLOCK])
    ]
    threshold = max(_QUIET, max(peaks, default=0) // 4)
    loud = [number for number, peak in enumerate(peaks) if peak > threshold]
    runs: list[tuple[int, int]] = []
    for number in loud:
        if runs and number - runs[-1][1] <= _LONGEST_GAP_BLOCKS:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return [
        (start * _BLOCK, end * _BLOCK) for start, end in runs if end - start >= _SHORTEST_RUN_BLOCKS
    ]


def _pitch(samples: array[int]) -> float | None:
    """Periods per second in the middle of ``samples``; None if the period is not constant."""
    trim = max(_BLOCK, (len(samples) - _MEASURED_SAMPLES) // 2)
    middle = samples[trim:-trim]
    if not middle:
        return None
    crossings = _upward_crossings(middle)
    if len(crossings) < 3:
        return None
    period = (crossings[-1] - crossings[0]) / (len(crossings) - 1)
    irregular = sum(abs(b - a - period) > period / 4 for a, b in pairwise(crossings))
    return RATE / period if irregular <= len(crossings) / 10 else None


def _upward_crossings(samples: array[int]) -> list[float]:
    """The positions, in samples, at which the wave rises through zero; interpolated."""
    return [
        position + before / (before - after)
        for position, (before, after) in enumerate(pairwise(samples))
        if before < 0 <= after
    ]
