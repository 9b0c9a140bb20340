"""Frame headers of the streams that have no container: ADTS (AAC) and MPEG audio (MP2, MP3).

Such a file has no header. It is a sequence of frames, and the header of each tells its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Random bytes look like three frames in a row once in a billion places.
_FRAMES_IN_A_ROW = 3
# A recording that was cut begins with the rest of a frame, and no frame is longer than this.
_SEARCH_BYTES = 8192
# The second byte of a frame header, after 0xFF, is one of these.
_SYNC = re.compile(rb"\xff(?=[\xe2-\xe5\xf0-\xf5\xf8-\xfd])")
_SYNC_BYTES = 2
_ZEROS = re.compile(rb"\0*")

# Sample rates by index in the header, and samples of a block (ISO/IEC 14496-3 §1.6.3.4, §4.5.1).
_AAC_RATES = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000),
    *(22_050, 16_000, 12_000, 11_025, 8_000, 7_350),
)
_AAC_BLOCK_SAMPLES = 1024
_ADTS_HEADER_BYTES = 7

# kbit/s by their index in the header, which starts at 1 (ISO/IEC 11172-3 §2.4.2.3 and 13818-3).
_KBITS_MP2 = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_KBITS_MP3 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_LOW_RATE = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG_RATES = (44_100, 48_000, 32_000)
# Each version number in the header divides the rates above by this.
_RATE_DIVISORS = {3: 1, 2: 2, 0: 4}
_LAYER_2, _LAYER_3 = 2, 1


@dataclass(frozen=True)
class AdtsFrame:
    size_bytes: int
    seconds: float


def read_adts_frame(data: bytes | bytearray, at: int) -> AdtsFrame | None:
    """The ADTS frame whose header begins at ``at``, or ``None``."""
    if at + _ADTS_HEADER_BYTES > len(data) or data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0:
        return None
    header = int.from_bytes(data[at : at + _ADTS_HEADER_BYTES], "big")
    rate, size, blocks = header >> 34 & 15, header >> 13 & 0x1FFF, (header & 3) + 1
    if rate >= len(_AAC_RATES) or size < _ADTS_HEADER_BYTES:
        return None
    return AdtsFrame(size, blocks * _AAC_BLOCK_SAMPLES / _AAC_RATES[rate])


def begins_adts(data: bytes | bytearray, at: int) -> bool:
    """Whether several ADTS frames in a row begin at ``at``."""
    return _is_row(data, at, _adts_size)


def begins_mpeg_audio(data: bytes | bytearray, at: int) -> bool:
    """Whether several frames of MP2 or MP3 in a row begin at ``at``."""
    return _is_row(data, at, _mpeg_size)


def find_syncs(data: bytes | bytearray, start: int) -> Iterator[int]:
    """The offsets at which a frame may begin, within ``_SEARCH_BYTES`` from ``start``."""
    end = start + _SEARCH_BYTES + _SYNC_BYTES
    return (found.start() for found in _SYNC.finditer(data, start, end))


def end_of_zeros(data: bytes | bytearray, start: int) -> int:
    """The offset of the first byte from ``start`` on that is not zero."""
    zeros = _ZEROS.match(data, start)
    return zeros.end() if zeros else start


def _is_row(
    data: bytes | bytearray, at: int, size_at: Callable[[bytes | bytearray, int], int]
) -> bool:
    for _ in range(_FRAMES_IN_A_ROW):
        size = size_at(data, at)
        if not size:
            return False
        at += size
    return True


def _adts_size(data: bytes | bytearray, at: int) -> int:
    frame = read_adts_frame(data, at)
    return frame.size_bytes if frame else 0


def _mpeg_size(data: bytes | bytearray, at: int) -> int:
    """The size of the MP2 or MP3 frame whose header begins at ``at``; 0 if there is none."""
    header = int.from_bytes(data[at : at + 4], "big")
    version, layer = header >> 19 & 3, header >> 17 & 3
    bitrate, rate, padding = header >> 12 & 15, header >> 10 & 3, header >> 9 & 1
    divisor = _RATE_DIVISORS.get(version)
    if header >> 21 != 0x7FF or divisor is None or layer not in (_LAYER_2, _LAYER_3):
        return 0
    if bitrate in (0, 15) or rate == 3:
        return 0
    kbits = (_KBITS_MP2 if layer == _LAYER_2 else _KBITS_MP3) if divisor == 1 else _KBITS_LOW_RATE
    # Below 32 kHz a frame of MP3 has half as many samples.
    slots = 72_000 if layer == _LAYER_3 and divisor > 1 else 144_000
    return slots * kbits[bitrate - 1] * divisor // _MPEG_RATES[rate] + padding
