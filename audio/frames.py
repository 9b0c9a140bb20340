"""Measures a recording by the headers of its frames, before any frame is decoded.

ffmpeg stops once it has decoded enough sound. Frames that cannot be decoded never make it stop. As
a frame may be a single byte, 16 MB can hold three days of them. So they are counted here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from audio.formats import find_recording
from audio.mpeg_frames import read_adts_frame

# The size in bytes of a frame of each of the 16 types, with its header (RFC 4867 §5.3; 3GPP TS
# 26.101 and 26.201). ffmpeg treats a frame of an undefined type as a header alone.
_AMR_FRAME_BYTES = {
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, *[1] * 7),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, *[1] * 6),
}
_AMR_FRAME_SECONDS = 0.02

# No recorder writes shorter pages; most write pages of a second.
_OGG_PAGE_SECONDS = 0.01


def exceeds_duration(data: bytes | bytearray, seconds: float) -> bool:
    """Whether the frames last longer than ``seconds``.

    ``False`` for formats whose frames do not tell their duration. Reading stops as soon as the
    result is known.
    """
    found = find_recording(data)
    if found is None or found.audio_format.demuxer not in _DURATION_READERS:
        return False
    durations = _DURATION_READERS[found.audio_format.demuxer](data, found.start)
    return any(total > seconds for total in accumulate(durations))


def _amr_durations(data: bytes | bytearray, start: int) -> Iterator[float]:
    """Yields the seconds of each frame."""
    for magic, sizes in _AMR_FRAME_BYTES.items():
        if data[start : start + len(magic)] == magic:
            at = start + len(magic)
            while at < len(data):
                yield _AMR_FRAME_SECONDS
                at += sizes[data[at] >> 3 & 15]


def _adts_durations(data: bytes | bytearray, start: int) -> Iterator[float]:
    """Yields the seconds of each frame, up to the first byte that belongs to no frame."""
    at = start
    while frame := read_adts_frame(data, at):
        yield frame.seconds
        at += frame.size_bytes


def _ogg_durations(data: bytes | bytearray, start: int) -> Iterator[float]:
    """Yields the minimum duration of each page, empty and broken pages included."""
    at = start
    while (at := data.find(b"OggS", at)) >= 0:
        yield _OGG_PAGE_SECONDS
        at += 4


_DURATION_READERS = {"amr": _amr_durations, "aac": _adts_durations, "ogg": _ogg_durations}
