"""Builds WAV, FLAC, CAF and Matroska files that lie, repeat themselves or unpack to far more."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from tests.unit.audio.hostile_media import TONE, noise
from tests.unit.audio.recordings import encode, ogg_packets
from tests.unit.ogg_pages import HEAD, SILENT_FRAMES

UNKNOWN_SIZE = b"\x01" + b"\xff" * 7

EBML, SEGMENT, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
INFO, TRACKS, TRACK, VOID = 0x1549A966, 0x1654AE6B, 0xAE, 0xEC
ATTACHMENTS, ATTACHED_FILE, FILE_NAME, FILE_TYPE, FILE_DATA = (
    *(0x1941A469, 0x61A7, 0x466E),
    *(0x4660, 0x465C),
)


def wav(
    sound: bytes,
    *,
    rate: int = 16_000,
    channels: int = 1,
    bits: int = 16,
    align: int | None = None,
    form: int = 1,
    sound_size: int | None = None,
    before: bytes = b"",
) -> bytes:
    """A WAV whose header says all this, true or not; ``before`` are chunks before the sound."""
    block = (channels * bits // 8 if align is None else align) & 0xFFFF
    fields = struct.pack("<HHIIHH", form, channels, rate, rate * block & 2**32 - 1, block, bits)
    size = len(sound) if sound_size is None else sound_size
    chunks = b"fmt " + struct.pack("<I", len(fields)) + fields + before
    chunks += b"data" + struct.pack("<I", size) + sound
    return b"RIFF" + struct.pack("<I", 4 + len(chunks) & 2**32 - 1) + b"WAVE" + chunks


def riff_chunk(kind: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    return kind + struct.pack("<I", len(content) if size is None else size) + content


def flac_block(kind: int, content: bytes, *, size: int | None = None, last: bool = False) -> bytes:
    length = len(content) if size is None else size
    return struct.pack(">I", last << 31 | kind << 24 | length) + content


def flac(*blocks: bytes, frames: bytes = b"", samples: int = 0, rate: int = 16_000) -> bytes:
    """A mono FLAC that says it has so many ``samples``, 0 for unknown; ``blocks`` of metadata."""
    packed = rate << 44 | 15 << 36 | samples
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + struct.pack(">Q", packed) + bytes(16)
    return b"fLaC" + flac_block(0, info) + b"".join(blocks) + flac_block(1, b"", last=True) + frames


def caf_chunk(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    return kind + struct.pack(">q", len(content) if size is None else size) + content


def caf_file(
    *chunks: bytes,
    form: bytes = b"opus",
    rate: float = 48_000,
    samples: int = 960,
    channels: int = 1,
) -> bytes:
    fields = struct.pack(">d4sIIIII", rate, form, 0, 0, samples, channels, 0)
    return b"caff" + struct.pack(">HH", 1, 0) + caf_chunk(b"desc", fields) + b"".join(chunks)


def packet_table(sizes: bytes, *, packets: int) -> bytes:
    return caf_chunk(b"pakt", struct.pack(">qqii", packets, 960 * packets, 0, 0) + sizes)


def element(kind: int, content: bytes = b"", size: bytes | None = None) -> bytes:
    """An element of EBML; ``size`` as it is written, where it is not that of the content."""
    name = kind.to_bytes((kind.bit_length() + 7) // 8, "big")
    return name + (_size(len(content)) if size is None else size) + content


def _size(length: int) -> bytes:
    return (1 << 56 | length).to_bytes(8, "big")


def matroska(*elements: bytes, track: bytes = b"", head: bytes = HEAD) -> bytes:
    """A file with one track of Opus; ``elements`` stand behind it, such as clusters."""
    header = element(EBML, element(0x4282, b"webm"))
    info = element(INFO, element(0x2AD7B1, (1_000_000).to_bytes(3, "big")))
    number = element(0xD7, b"\1") + element(0x73C5, b"\1") + element(0x83, b"\2")
    codec = element(0x86, b"A_OPUS") + element(0x63A2, head)
    sound = element(0xE1, element(0xB5, struct.pack(">d", 48_000.0)) + element(0x9F, b"\1"))
    tracks = element(TRACKS, element(TRACK, number + codec + sound + track))
    return header + element(SEGMENT, info + tracks + b"".join(elements), UNKNOWN_SIZE)


def cluster(*blocks: bytes, time: int = 0) -> bytes:
    return element(CLUSTER, element(0xE7, time.to_bytes(8, "big")) + b"".join(blocks))


def block(content: bytes, *, time: int = 0, lacing: int = 0) -> bytes:
    return element(0xA3, b"\x81" + struct.pack(">hB", time, 0x80 | lacing << 1) + content)


def small_block(content: bytes) -> bytes:
    """One of the smallest there are."""
    body = b"\x81\0\0\x80" + content
    return b"\xa3" + bytes([0x80 | len(body)]) + body


def compressed(algorithm: int = 0) -> bytes:
    """What makes a track's blocks compressed, by zlib if ``algorithm`` is 0."""
    compression = element(0x5034, element(0x4254, bytes([algorithm])))
    coding = element(0x5031, b"\0") + element(0x5032, b"\1") + element(0x5033, b"\0")
    return element(0x6D80, element(0x6240, coding + compression))


def zlib_bomb(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def attachment(data: bytes, name: str = "../../etc/passwd", size: bytes | None = None) -> bytes:
    content = element(FILE_NAME, name.encode()) + element(FILE_TYPE, b"font/ttf")
    content += element(0x46AE, b"\1") + element(FILE_DATA, data, size)
    return element(ATTACHMENTS, element(ATTACHED_FILE, content))


def nested(depth: int, kind: int = TRACKS) -> bytes:
    """Elements within each other, all of unknown size."""
    return element(kind, size=UNKNOWN_SIZE) * depth


def opus_packets(pcm: bytes) -> list[bytes]:
    return ogg_packets(encode(pcm, "-c:a libopus -frame_duration 20 -f ogg"))[2:]


def endless_blocks(content: bytes) -> bytes:
    """Matroska with 300,000 of the same block, all at the same time."""
    return matroska(*[cluster(small_block(content) * 1000)] * 300)


def sound() -> bytes:
    return cluster(*[block(each, time=20 * at) for at, each in enumerate(opus_packets(TONE))])


def laced() -> bytes:
    """Blocks that each say they hold 256 frames, in a few bytes."""
    return matroska(*[cluster(*[block(b"\xff" + bytes(10), lacing=1)] * 100)] * 100)


def bombs() -> bytes:
    """Matroska whose blocks unpack to 10 MB each."""
    clusters = [cluster(block(zlib_bomb(9_900_000), time=at)) for at in range(20)]
    return matroska(*clusters, track=compressed())


def distinct_comments(count: int) -> bytes:
    """FLAC with so many different tags."""
    tags = b"".join(struct.pack("<I", 8) + b"%06d=B" % number for number in range(count))
    return flac(flac_block(4, struct.pack("<II", 0, count) + tags), frames=flac_frames())


def flac_frames() -> bytes:
    whole = encode(TONE, "-f flac")
    return whole[whole.index(b"\xff\xf8") :]


# As in hostile_media: decoded as far as it is sound, or refused.
EITHER: dict[str, Callable[[], bytes]] = {
    "a WAV that is longer than it is": lambda: wav(TONE, sound_size=2**32 - 1),
    "a WAV that has no end": lambda: wav(TONE, sound_size=0),
    "a WAV of 65,535 channels": lambda: wav(TONE, channels=65_535),
    "a WAV of no channels": lambda: wav(TONE, channels=0),
    "a WAV of no rate": lambda: wav(TONE, rate=0),
    "a WAV at 4 GHz": lambda: wav(TONE, rate=2**32 - 1),
    "a WAV at 1 Hz": lambda: wav(TONE, rate=1),
    "a WAV of 65,535 bits": lambda: wav(TONE, bits=65_535),
    "a WAV whose blocks are odd": lambda: wav(TONE, align=1),
    "a WAV behind 100,000 chunks": lambda: wav(TONE, before=riff_chunk(b"junk") * 100_000),
    "a WAV behind a chunk of 4 GB": lambda: wav(TONE, before=riff_chunk(b"junk", size=2**32 - 1)),
    "a WAV with 50,000 tags": lambda: wav(
        TONE, before=riff_chunk(b"LIST", b"INFO" + riff_chunk(b"INAM", b"ab") * 50_000)
    ),
    "a FLAC of 68 billion samples": lambda: flac(samples=2**36 - 1, frames=flac_frames()),
    "a FLAC of noise": lambda: flac(frames=noise(6, 100_000)),
    "a FLAC of headers of frames": lambda: flac(frames=flac_frames()[:16] * 20_000),
    "a FLAC with 20,000 tags": lambda: distinct_comments(20_000),
    "a FLAC with 100,000 empty blocks": lambda: flac(
        *[flac_block(1, b"")] * 100_000, frames=flac_frames()
    ),
    "a FLAC with a block of 16 MB": lambda: flac(flac_block(6, b"", size=2**24 - 1)),
    "a CAF with a chunk of 9 EB": lambda: caf_file(caf_chunk(b"free", b"", size=2**63 - 1)),
    "a CAF with a chunk of less than nothing": lambda: caf_file(caf_chunk(b"free", b"", size=-100)),
    "a CAF of a trillion packets": lambda: caf_file(
        packet_table(b"\1" * 100, packets=2**40), caf_chunk(b"data", bytes(100))
    ),
    "a CAF of 200,000 packets that are none": lambda: caf_file(
        packet_table(b"\1" * 200_000, packets=200_000), caf_chunk(b"data", b"\xff" * 200_004)
    ),
    "a CAF at a rate without end": lambda: caf_file(
        caf_chunk(b"data", bytes(1000)), form=b"lpcm", rate=1e308, samples=1
    ),
    "Matroska whose time stands still": lambda: endless_blocks(SILENT_FRAMES),
    "Matroska of packets that are none": lambda: endless_blocks(b"\xff"),
    "Matroska of empty blocks": lambda: endless_blocks(b""),
    "Matroska laced up": laced,
    "Matroska that unpacks to 200 MB": bombs,
    "Matroska of noise": lambda: matroska(noise(7, 100_000)),
    "Matroska with an attachment": lambda: matroska(attachment(noise(8, 10_000)), sound()),
    "Matroska with an attachment of 72 PB": lambda: matroska(
        attachment(b"", size=b"\x01" + b"\xff" * 6 + b"\xfe"), sound()
    ),
}

REFUSED: dict[str, Callable[[], bytes]] = {
    "a WAV without sound": lambda: wav(b""),
    "a WAV of an unknown coding": lambda: wav(TONE, form=0xFFFE),
    "RIFF within RIFF": lambda: b"RIFF\xff\0\0\0WAVE" * 1000,
    "Matroska without blocks": matroska,
    "Matroska of elements within elements": lambda: matroska(nested(20_000)),
    "Matroska of elements of no size": lambda: matroska(element(VOID) * 20_000),
    "a CAF within a CAF": lambda: caf_file(caf_chunk(b"data", caf_file()), form=b"caff"),
    "a FLAC without sound": flac,
}
