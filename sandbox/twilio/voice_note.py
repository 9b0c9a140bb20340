"""Checks that a file is a WhatsApp voice note: one mono Opus stream in a valid Ogg container."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

# Opus granule positions are at 48 kHz for any input rate (RFC 7845 §4).
GRANULES_PER_SECOND = 48_000
PAGE_HEADER = 27
CONTINUED, FIRST, LAST = 1, 2, 4
NO_PACKET_ENDS = 0xFFFF_FFFF_FFFF_FFFF

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class NotAVoiceNote(ValueError):
    """The file is not a voice note; the message says why."""


@dataclass(frozen=True)
class VoiceNote:
    """The properties in the headers; ``rate`` is the sample rate before encoding, in Hz."""

    seconds: float
    rate: int


@dataclass(frozen=True)
class _Page:
    flags: int
    granule: int
    serial: int
    sequence: int
    payload: bytes


def read_voice_note(data: bytes) -> VoiceNote:
    """Check ``data`` as strictly as any player (docs/providers/twilio.md, "Voice notes").

    Raises ``NotAVoiceNote`` if it is not Ogg, damaged, chained, not Opus, not mono, or empty.
    """
    pages = _pages(data)
    _check_single_stream(pages)
    head = pages[0].payload
    if head[:8] != b"OpusHead" or len(head) < 19:
        raise NotAVoiceNote("the stream is not Opus")
    if head[9] != 1:
        raise NotAVoiceNote(f"{head[9]} channels instead of one")
    if len(pages) < 2 or pages[1].payload[:8] != b"OpusTags":
        raise NotAVoiceNote("the Opus comment header is missing")
    pre_skip = int.from_bytes(head[10:12], "little")
    ends = [page.granule for page in pages[2:] if page.granule != NO_PACKET_ENDS]
    if ends != sorted(ends):
        raise NotAVoiceNote("time runs backwards")
    if not ends or ends[-1] <= pre_skip:
        raise NotAVoiceNote("no sound in it")
    seconds = (ends[-1] - pre_skip) / GRANULES_PER_SECOND
    return VoiceNote(seconds=seconds, rate=int.from_bytes(head[12:16], "little"))


def _pages(data: bytes) -> list[_Page]:
    if not data:
        raise NotAVoiceNote("the file is empty")
    pages = []
    position = 0
    while position < len(data):
        page, position = _page(data, position)
        pages.append(page)
    return pages


def _page(data: bytes, start: int) -> tuple[_Page, int]:
    header = data[start : start + PAGE_HEADER]
    if header[:4] != b"OggS":
        raise NotAVoiceNote("not an Ogg file" if start == 0 else f"no Ogg page at byte {start}")
    body = start + PAGE_HEADER + (header[26] if len(header) == PAGE_HEADER else 0)
    end = body + sum(data[start + PAGE_HEADER : body])
    if len(header) < PAGE_HEADER or end > len(data):
        raise NotAVoiceNote("the last page is cut off")
    if _checksum(data[start:end]) != int.from_bytes(header[22:26], "little"):
        raise NotAVoiceNote(f"wrong checksum of the page at byte {start}")
    page = _Page(
        flags=header[5],
        granule=int.from_bytes(header[6:14], "little"),
        serial=int.from_bytes(header[14:18], "little"),
        sequence=int.from_bytes(header[18:22], "little"),
        payload=data[body:end],
    )
    return page, end


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32, calculated by zlib: input bytes and result are bit-reversed, without XOR."""
    cleared = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(cleared.translate(_MIRRORED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _check_single_stream(pages: list[_Page]) -> None:
    """Raises ``NotAVoiceNote`` unless it is one complete stream; many players fail with others."""
    if sum(bool(page.flags & FIRST) for page in pages) > 1:
        raise NotAVoiceNote("a chained Ogg: it holds more than one stream")
    if not pages[0].flags & FIRST or len({page.serial for page in pages}) != 1:
        raise NotAVoiceNote("pages of a foreign stream")
    if [page.sequence for page in pages] != list(range(len(pages))):
        raise NotAVoiceNote("pages are missing or out of order")
    if not pages[-1].flags & LAST or any(page.flags & LAST for page in pages[:-1]):
        raise NotAVoiceNote("the stream has no proper end")
