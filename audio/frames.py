"""How long a recording lasts by the headers of its frames, seen before any is decoded.

A frame may be a single byte. ffmpeg stops when it has decoded enough, so frames that cannot be
decoded cost it the most; three days of them fit in what is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from audio.formats import detect_format

# Bytes of a frame of each of the 16 types, its header included (RFC 4867 §5.3; 3GPP TS 26.101 and
# 26.201); undefined types are a header alone to ffmpeg.
_AMR = {
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, *[1] * 7),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, *[1] * 6),
}
_AMR_FRAME_SECONDS = 0.02

# Samples a second by their number in the header, and of a block (ISO/IEC 14496-3 §1.6.3.4, §4.5.1).
_AAC_RATES = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000),
    *(22_050, 16_000, 12_000, 11_025, 8_000, 7_350),
)
_AAC_BLOCK = 1024
_AAC_HEADER = 7

# Nobody records into shorter pages; most hold a second.
_OGG_PAGE_SECONDS = 0.01


def exceeds_duration(data: bytes | bytearray, seconds: float) -> bool:
    """Whether the frames last longer; ``False`` where that is not seen without decoding.

    Looks no further than that.
    """
    container = detect_format(data)
    frames = _FRAMES.get(container.demuxer) if container else None
    return frames is not None and any(total > seconds for total in accumulate(frames(data)))


def _amr(data: bytes | bytearray) -> Iterator[float]:
    """The seconds of each frame."""
    for magic, sizes in _AMR.items():
        if data.startswith(magic):
            at = len(magic)
            while at < len(data):
                yield _AMR_FRAME_SECONDS
                at += sizes[data[at] >> 3 & 15]


def _aac(data: bytes | bytearray) -> Iterator[float]:
    """The same of ADTS, up to the first byte that is no frame's."""
    at = 0
    while at + _AAC_HEADER <= len(data) and data[at] == 0xFF and data[at + 1] & 0xF6 == 0xF0:
        header = int.from_bytes(data[at : at + _AAC_HEADER], "big")
        rate, size, blocks = header >> 34 & 15, header >> 13 & 0x1FFF, (header & 3) + 1
        if rate >= len(_AAC_RATES) or size < _AAC_HEADER:
            return
        yield blocks * _AAC_BLOCK / _AAC_RATES[rate]
        at += size


def _ogg(data: bytes | bytearray) -> Iterator[float]:
    """At least so much of each page, empty and broken ones included."""
    at = 0
    while (at := data.find(b"OggS", at)) >= 0:
        yield _OGG_PAGE_SECONDS
        at += 4


_FRAMES = {"amr": _amr, "aac": _aac, "ogg": _ogg}
