"""Media that somebody made to do harm, made here rather than kept as files."""

from __future__ import annotations

import functools
import random
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg

from audio.ffmpeg_arguments import SAMPLE_RATE
from sandbox.speech.codec import Codec
from sandbox.speech.tone import sine
from tests.unit.ogg_pages import (
    FIRST,
    FRAME,
    HEAD,
    LAST,
    SILENT_FRAMES,
    TAGS,
    Page,
    packed,
    stream,
)

EXE = imageio_ffmpeg.get_ffmpeg_exe()
TONE = sine(440, 1.5)


@functools.cache
def made(*arguments: str) -> bytes:
    """What ffmpeg makes of the tone."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "made")
        source = ["-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-i", "pipe:0"]
        command = [EXE, "-v", "error", *source, *arguments, str(target)]
        subprocess.run(command, input=TONE, check=True)
        return target.read_bytes()


PICTURES = "-f lavfi -i testsrc=d=1:s=64x64".split()


def with_pictures(options: str) -> bytes:
    """``options`` choose from the tone, 0, and moving pictures, 1."""
    return made(*PICTURES, *options.split())


@functools.cache
def note(kind: str = "ogg") -> bytes:
    return Codec(ffmpeg=EXE).note(TONE, kind)


def bomb(hours: int) -> bytes:
    """Silence of 120 ms in every two bytes, ten minutes in a page of 10 KB at most."""
    packets = hours * 3600 * 1000 // 120
    pages = [[SILENT_FRAMES] * 255] * (packets // 255)
    return packed(stream(pages, samples=5760))


def box(kind: bytes, *content: bytes) -> bytes:
    """A box of MP4."""
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def frame() -> bytes:
    """The middle of a recording in AAC, without the header that each frame has in a stream."""
    stream = note("aac")
    at, frames = 0, []
    while at < len(stream):
        size = int.from_bytes(stream[at + 3 : at + 6], "big") >> 5 & 0x1FFF
        frames.append(stream[at + 7 : at + size])
        at += size
    return frames[len(frames) // 2]


def alias(path: str) -> bytes:
    """A reference to a file, in the one form that ffmpeg could be made to follow."""
    place = path.replace("/", ":").encode()
    place += bytes(len(place) % 2)
    absolute = struct.pack(">HH", 2, len(place)) + place
    return box(b"alis", bytes(154), absolute, struct.pack(">HH", 0xFFFF, 0))


def mp4(*, samples: int = 20, reference: bytes = b"", nested: int = 0, amr: bytes = b"") -> bytes:
    """A track of AAC that says it has so many ``samples``, 20 at most, maybe in another file.

    Or of as many frames of ``amr`` as it says.
    """
    sound = amr or frame()
    data = box(b"mdat", sound * (samples if amr else min(samples, 20)))
    here = box(b"url ", struct.pack(">I", 1))
    esds = bytes.fromhex("00000000 0319000100 0411 4015000000 0000fa00 0000fa00 05021408 060102")
    entry = struct.pack(">6xH8xHHIHH", 1, 1, 16, 0, 16_000, 0)
    coding = box(b"samr", entry) if amr else box(b"mp4a", entry, box(b"esds", esds))
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), coding),
        box(b"stts", struct.pack(">IIII", 0, 1, samples, 1024)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, samples, 1)),
        box(b"stsz", struct.pack(">III", 0, len(sound), samples)),
        box(b"stco", struct.pack(">III", 0, 1, 28)),
    )
    where = box(b"dinf", box(b"dref", struct.pack(">II", 0, 1), reference or here))
    media = box(
        b"mdia",
        box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 16_000, 1024, 0x55C4, 0)),
        box(b"hdlr", bytes(8), b"soun", bytes(13)),
        box(b"minf", box(b"smhd", bytes(8)), where, table),
    )
    head = struct.pack(">IIIIII60x", 7, 0, 0, 1, 0, 1024)
    track = box(b"trak", box(b"tkhd", head), media)
    movie = box(b"moov", box(b"mvhd", struct.pack(">IIIII80x", 0, 0, 0, 1000, 64)), track)
    for _ in range(nested):
        movie = box(b"moov", movie)
    return box(b"ftyp", b"M4A \0\0\0\0M4A ") + data + movie


def png(side: int) -> bytes:
    """A square of one colour: a gigabyte of pixels in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
        + chunk(b"IEND", b"")
    )


def id3(frame: bytes, content: bytes, size: int | None = None) -> bytes:
    """An ID3v2.3 tag, which may lie about its size."""
    body = frame + struct.pack(">IH", len(content), 0) + content
    length = len(body) if size is None else size
    sevens = bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + sevens + body


def with_cover(picture: bytes) -> bytes:
    return id3(b"APIC", b"\0image/png\0\3\0" + picture) + note("mp3")


def interleaved(*streams: list[Page]) -> bytes:
    """Several logical streams at once: all their first pages, then the others."""
    return packed([each[0] for each in streams] + [page for each in streams for page in each[1:]])


def opus(head: bytes, *, tags: bytes = TAGS) -> bytes:
    """Sound behind a header of one's own."""
    return packed(stream([[FRAME] * 9], head=head, tags=tags))


def commented(pages: int) -> bytes:
    """A comment of 64 KB a page."""
    full = b"\xff" * 255
    comment = [Page(at > 1, -1, at, full, noise(at, 255 * 255)) for at in range(1, pages + 1)]
    return packed([*stream([[FRAME]])[:1], *comment])


def granules(granule: int) -> bytes:
    pages = stream([[FRAME] * 50] * 3)
    return packed([*pages[:3], Page(0, granule, 3, pages[3].lacing, pages[3].body), pages[4]])


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


THEORA = "-c:a libopus -c:v libtheora -f ogg"
PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"

# Each is decoded as far as it is sound that the sender may have meant, or refused.
EITHER: dict[str, Callable[[], bytes]] = {
    "Ogg with pictures behind": lambda: with_pictures(f"-map 0 -map 1 {THEORA}"),
    "Ogg with pictures in front": lambda: with_pictures(f"-map 1 -map 0 {THEORA}"),
    "two streams at once": lambda: interleaved(
        stream([[FRAME] * 9]), stream([[FRAME] * 9], serial=8)
    ),
    "a hundred streams": lambda: interleaved(
        *(stream([[FRAME] * 9], serial=at) for at in range(100))
    ),
    "a long chain": lambda: b"".join(packed(stream([[FRAME]], serial=at)) for at in range(2000)),
    "a chain of Opus and Vorbis": lambda: note() + made("-c:a", "libvorbis", "-f", "ogg"),
    "time runs backwards": lambda: granules(-(2**62)),
    "time leaps by ages": lambda: granules(2**62),
    "gain of 128 dB": lambda: opus(HEAD[:16] + b"\xff\x7f\0"),
    "all is skipped": lambda: opus(HEAD[:10] + b"\xff\xff" + HEAD[12:]),
    "rate of 4 GHz": lambda: opus(HEAD[:12] + b"\xff" * 4 + HEAD[16:]),
    "noise for packets": lambda: packed(stream([[noise(at, 200) for at in range(50)]] * 5)),
    "empty packets": lambda: packed(stream([[b""] * 255] * 20)),
    "a huge comment": lambda: commented(20),
    "half a note": lambda: note()[: len(note()) // 2],
    "a note and a zip": lambda: note() + b"PK\3\4" + noise(1, 50_000),
    "an MP3 with a picture of a gigabyte": lambda: with_cover(png(16_000)),
    "an MP3 with a broken picture": lambda: with_cover(noise(2, 5000)),
    "an MP3 behind a tag of 256 MB": lambda: id3(b"TIT2", b"\0x", size=2**28 - 1) + note("mp3"),
    "an MP4 of four billion samples": lambda: mp4(samples=2**32 - 1),
    "an MP4 of a million samples in nothing": lambda: mp4(samples=10**6),
    "an MP4 within MP4s": lambda: mp4(nested=2000),
    "an MP4 that lies behind free boxes": lambda: box(b"free") * 50_000 + mp4(),
    "an MP4 with a box of 16 EB": lambda: struct.pack(">I4sQ", 1, b"ftyp", 2**64 - 1) + mp4(),
    "an ADTS stream behind a tag that lies": lambda: (
        id3(b"TIT2", b"", size=2**28 - 1) + note("aac")
    ),
    "a thousand tags and an MP3": lambda: id3(b"TIT2", b"\0x") * 1000 + note("mp3"),
    "AMR of noise": lambda: b"#!AMR\n" + noise(3, 100_000),
    "AMR of nothing": lambda: b"#!AMR\n" + b"\x7c" * 30_000,
    "AAC of noise": lambda: b"\xff\xf1" + noise(4, 100_000),
    "MP3 of noise": lambda: b"\xff\xfb\x90" + noise(5, 100_000),
}

# None of these is sound that a phone records.
REFUSED: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"O",
    "a page and no more": lambda: packed(stream([[FRAME]])[:1]),
    "headers and no sound": lambda: packed(stream([[FRAME]])[:2]),
    "half a header": lambda: note()[:20],
    "an end at the beginning": lambda: packed(
        [Page.of([HEAD], number=0, granule=0, flags=FIRST | LAST)]
    ),
    "255 channels": lambda: opus(HEAD[:9] + b"\xff" + HEAD[10:18] + b"\xff\xff\0" + bytes(255)),
    "no channels": lambda: opus(HEAD[:9] + b"\0" + HEAD[10:]),
    "Opus of another kind": lambda: opus(HEAD[:8] + b"\xf0" + HEAD[9:]),
    "Ogg without sound": lambda: with_pictures("-map 1 -c:v libtheora -f ogg"),
    "Ogg with Speex, it says": lambda: opus(b"Speex   1.2".ljust(80, b"\0")),
    "AVI": lambda: made("-f", "avi"),
    "a playlist": lambda: PLAYLIST,
    "a list of files": lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "a manifest": lambda: b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"/>',
    "a session description": lambda: b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 96\n",
    "a playlist that begins like Ogg": lambda: b"OggS\n" + PLAYLIST + bytes(50),
    "a playlist within Ogg": lambda: opus(PLAYLIST, tags=PLAYLIST),
    "a playlist that begins like MP3": lambda: b"ID3\n" + PLAYLIST,
    "a playlist that begins like MP4": lambda: b"#EXTftypM3U\n" + PLAYLIST,
    "an MP4 without its index": lambda: note("m4a").partition(b"moov")[0],
    "an MP4 with pictures only": lambda: with_pictures("-map 1 -c:v mpeg4 -f mp4"),
    "an MP4 that is an index in an index": lambda: box(b"moov", box(b"moov", note("m4a"))),
    "an endless line of MP4 boxes": lambda: box(b"free") * 200_000,
    "a playlist that begins like WAV": lambda: b"RIFF\n#EXWAVE\n" + PLAYLIST,
    "a playlist that begins like CAF": lambda: b"caff\n" + PLAYLIST,
    "a playlist that begins like FLAC": lambda: b"fLaC\n" + PLAYLIST,
    "a playlist that begins like Matroska": lambda: b"\x1aE\xdf\xa3\n" + PLAYLIST,
    "a playlist behind a tag": lambda: id3(b"TIT2", b"\0x") + PLAYLIST,
    "a playlist behind zeros": lambda: bytes(1000) + PLAYLIST,
    "a picture": lambda: png(100),
    "a page of HTML": lambda: b"<!doctype html><title>404</title>",
    "a program": lambda: b"#!/bin/sh\nreboot\n",
}
