"""Ogg pages put together by hand, with a checksum computed as RFC 3533 writes it down."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CONTINUED, FIRST, LAST = 1, 2, 4
SERIAL = 7
HEAD = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, 16_000, 0, 0)
TAGS = b"OpusTags" + struct.pack("<I4sI", 4, b"test", 0)
# CELT, fullband, 20 ms: one frame; and six that say nothing, 120 ms in two bytes.
FRAME = b"\xf8\xff\xfe"
SILENT_FRAMES = b"\xfb\x06"
FRAME_SAMPLES = 960


def _remainder(byte: int) -> int:
    register = byte << 24
    for _ in range(8):
        register = (register << 1) ^ (0x1_04C1_1DB7 if register & 0x8000_0000 else 0)
    return register


REMAINDERS = [_remainder(byte) for byte in range(256)]


def checksum(data: bytes) -> int:
    register = 0
    for byte in data:
        register = (register << 8 & 0xFFFF_FFFF) ^ REMAINDERS[register >> 24 ^ byte]
    return register


@dataclass(frozen=True)
class Page:
    """As bytes by ``packed``; ``lacing`` is computed from whole packets by ``of``."""

    flags: int
    granule: int
    number: int
    lacing: bytes
    body: bytes
    serial: int = SERIAL

    @staticmethod
    def of(
        packets: Sequence[bytes], *, number: int, granule: int, flags: int = 0, serial: int = SERIAL
    ) -> Page:
        lacing = b"".join(
            b"\xff" * (len(each) // 255) + bytes([len(each) % 255]) for each in packets
        )
        return Page(flags, granule, number, lacing, b"".join(packets), serial)

    def packed(self) -> bytes:
        fields = (b"OggS", 0, self.flags, self.granule, self.serial, self.number)
        front = struct.pack("<4sBBqII", *fields)
        back = bytes([len(self.lacing)]) + self.lacing + self.body
        return front + struct.pack("<I", checksum(front + bytes(4) + back)) + back


def packed(pages: Iterable[Page]) -> bytes:
    return b"".join(page.packed() for page in pages)


def stream(
    sound: Sequence[Sequence[bytes]],
    *,
    head: bytes = HEAD,
    tags: bytes = TAGS,
    samples: int = FRAME_SAMPLES,
    trimmed: int = 0,
    serial: int = SERIAL,
) -> list[Page]:
    """A page for each of ``sound``, whose packets last ``samples``; ``trimmed`` off the end."""
    pages = [
        Page.of([head], number=0, granule=0, flags=FIRST, serial=serial),
        Page.of([tags], number=1, granule=0, serial=serial),
    ]
    ends = 0
    for packets in sound:
        ends += samples * len(packets)
        pages.append(Page.of(packets, number=len(pages), granule=ends, serial=serial))
    last = pages[-1]
    pages[-1] = Page(LAST, ends - trimmed, last.number, last.lacing, last.body, serial)
    return pages
