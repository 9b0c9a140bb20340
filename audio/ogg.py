"""Joins Ogg/Opus files without re-encoding them (RFC 3533, RFC 6716, RFC 7845)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from core.errors import AudioUnreadable

# Granule positions count samples at 48 kHz, whatever the rate of the recording (RFC 7845 §4).
RATE = 48_000
CONTINUED, FIRST, LAST = 1, 2, 4
NO_PACKET_ENDS = -1
# Capture pattern, version, flags, granule position, serial, number, checksum, segments.
_HEADER = struct.Struct("<4sBBqIIIB")
_CHECKSUM = slice(22, 26)
# The samples of a frame in each of the 32 configurations (RFC 6716 §3.1): SILK, hybrid, CELT.
_FRAME_SAMPLES = [480, 960, 1920, 2880] * 3 + [480, 960] * 2 + [120, 240, 480, 960] * 4
_MAX_PACKET_SAMPLES = 5760
# Ogg and zlib compute the checksum in opposite bit orders, so each byte is reversed.
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class _Page:
    flags: int
    granule: int
    serial: int
    number: int
    lacing: bytes
    body: bytes

    def packed(self) -> bytes:
        fields = (b"OggS", 0, self.flags, self.granule, self.serial, self.number, 0)
        page = bytearray(_HEADER.pack(*fields, len(self.lacing)) + self.lacing + self.body)
        page[_CHECKSUM] = _checksum(page).to_bytes(4, "little")
        return bytes(page)


@dataclass(frozen=True)
class _Stream:
    """``ends`` has, for each page of ``sound``, the number of samples up to the end of the page."""

    head: _Page
    tags: _Page
    sound: list[_Page]
    ends: list[int]


def join(segments: Sequence[bytes]) -> bytes:
    """One stream with the packets of all ``segments``; a segment may be a chain of streams.

    Opus can skip samples only at the beginning and at the end of a stream. So between segments some
    milliseconds are played that each segment by itself would skip. Raises ``AudioUnreadable``
    unless all segments are plain and intact Ogg/Opus with the same channels, gain and mapping.
    """
    streams = [stream for segment in segments for stream in _streams(segment)]
    if len(streams) == 1:
        return segments[0]
    # Version, channels, gain and mapping; not the pre-skip and the rate before encoding.
    if len({stream.head.body[8:10] + stream.head.body[16:] for stream in streams}) != 1:
        raise AudioUnreadable("the segments differ in channels, gain or mapping")
    serial = streams[0].head.serial
    return b"".join(
        replace(page, serial=serial, number=number).packed()
        for number, page in enumerate(_joined_pages(streams))
    )


def _joined_pages(streams: Sequence[_Stream]) -> Iterator[_Page]:
    """The pages of the joined stream, still with their old serials and numbers."""
    yield streams[0].head
    yield streams[0].tags
    before = 0
    final = streams[-1].sound[-1]
    for stream in streams:
        for page, end in zip(stream.sound, stream.ends, strict=True):
            if page is final:
                yield replace(page, flags=page.flags | LAST, granule=before + page.granule)
            elif page.granule == NO_PACKET_ENDS:
                yield page
            else:
                yield replace(page, flags=page.flags & CONTINUED, granule=before + end)
        before += stream.ends[-1]


def _streams(data: bytes) -> list[_Stream]:
    links: list[list[_Page]] = []
    for page in _pages(data):
        if page.flags & FIRST:
            links.append([])
        if not links:
            break
        links[-1].append(page)
    if not links:
        raise AudioUnreadable("an Ogg file without its first page")
    return [_stream(pages) for pages in links]


def _pages(data: bytes) -> Iterator[_Page]:
    at = 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            raise AudioUnreadable("an Ogg page is cut off")
        header = _HEADER.unpack_from(data, at)
        capture, version, flags, granule, serial, number, checksum, lacing_bytes = header
        body = at + _HEADER.size + lacing_bytes
        lacing = data[at + _HEADER.size : body]
        page = bytearray(data[at : body + sum(lacing)])
        page[_CHECKSUM] = bytes(4)
        if (capture, version, checksum) != (b"OggS", 0, _checksum(page)):
            raise AudioUnreadable("a broken Ogg page")
        at += len(page)
        yield _Page(flags, granule, serial, number, lacing, data[body:at])


def _stream(pages: list[_Page]) -> _Stream:
    head, tags, sound = pages[0], pages[1:2], pages[2:]
    if len({page.serial for page in pages}) != 1:
        raise AudioUnreadable("an Ogg file of several streams")
    if [page.number for page in pages] != list(range(len(pages))):
        raise AudioUnreadable("Ogg pages are missing")
    if any(page.flags & LAST for page in pages[:-1]):
        raise AudioUnreadable("Ogg pages after the last page")
    # Channel mapping family 0 is mono or stereo in one Opus stream (RFC 7845 §5.1.1).
    plain = len(head.body) == 19 and head.body[8] == 1 and head.body[18] == 0
    if not plain or not _is_packet(head, b"OpusHead"):
        raise AudioUnreadable("not mono or stereo Opus")
    if not sound or not _is_packet(tags[0], b"OpusTags"):
        raise AudioUnreadable("Opus without sound, or with a long comment")
    return _Stream(head, tags[0], sound, _sample_counts(sound))


def _is_packet(page: _Page, beginning: bytes) -> bool:
    """Whether the page holds exactly one packet, and the packet starts with ``beginning``."""
    whole = all(size == 255 for size in page.lacing[:-1]) and page.lacing[-1:] < b"\xff"
    return page.body.startswith(beginning) and whole and not page.flags & CONTINUED


def _sample_counts(pages: list[_Page]) -> list[int]:
    """The number of samples up to the end of each page, counted from the packets.

    Granule positions must agree, except that the last page may trim the end.
    """
    ends: list[int] = []
    total = 0
    packet = b""
    for page in pages:
        if bool(page.flags & CONTINUED) != bool(packet):
            raise AudioUnreadable("an Opus packet breaks off")
        at = 0
        before = total
        for size in page.lacing:
            # The first two bytes of a packet tell its duration.
            packet = packet or page.body[at : at + min(size, 2)]
            at += size
            if size < 255:
                total += _packet_samples(packet)
                packet = b""
        expected = total if total > before else NO_PACKET_ENDS
        trimmed = page is pages[-1] and before < page.granule < total
        if page.granule != expected and not trimmed:
            raise AudioUnreadable("Opus packets and their times do not agree")
        ends.append(total)
    if packet:
        raise AudioUnreadable("an Opus packet breaks off")
    return ends


def _packet_samples(packet: bytes) -> int:
    """The samples of a packet, by its first two bytes (RFC 6716 §3.2)."""
    if len(packet) < 1 + (packet[:1] > b"" and packet[0] & 3 == 3):
        raise AudioUnreadable("an empty Opus packet")
    code = packet[0] & 3
    frames = packet[1] & 0x3F if code == 3 else min(code, 1) + 1
    samples = frames * _FRAME_SAMPLES[packet[0] >> 3]
    if not 0 < samples <= _MAX_PACKET_SAMPLES:
        raise AudioUnreadable("an Opus packet of no possible length")
    return samples


def _checksum(page: bytes | bytearray) -> int:
    """The page's CRC-32, computed with a checksum field of 0 and started with 0 (RFC 3533 §6)."""
    mirrored = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{mirrored:032b}"[::-1], 2)
