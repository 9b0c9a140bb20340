"""Recordings as senders may forward them: each container, each codec, each way a file may begin.

ffmpeg encodes them; what it cannot write (tags, cuts, another order of boxes) is done to its bytes.
"""

from __future__ import annotations

import functools
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

EXE = imageio_ffmpeg.get_ffmpeg_exe()
RATE = 16_000

Make = Callable[[bytes], bytes]

# Foreign bytes without any pattern, as the rest of a damaged frame.
FOREIGN_BYTES = bytes(range(60, 80))
# A second input for ffmpeg: a silent video, and one picture.
VIDEO = "-f lavfi -i testsrc=d=1:s=64x64"
PICTURE = "-f lavfi -i testsrc=d=0.04:s=64x64"


@dataclass(frozen=True)
class Recording:
    """``make`` turns 16 kHz mono PCM into the file.

    ``logged`` is what the log calls the format of a recording that is refused.
    """

    container: str
    codec: str
    beginning: str
    media_type: str
    make: Make
    logged: str = ""

    @property
    def reason(self) -> str:
        """Why it is heard or refused."""
        return REASONS.get(f"{self.container}, {self.codec}") or REASONS[self.container]

    @property
    def name(self) -> str:
        return f"{self.container}, {self.codec}, {self.beginning}"


@functools.cache
def encode(pcm: bytes, options: str, second: str = "") -> bytes:
    """``pcm`` as ffmpeg encodes it; ``second`` is another input, VIDEO or PICTURE."""
    source = ["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "pipe:0"]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "recording")
        command = [EXE, "-v", "error", *source, *second.split(), *options.split(), str(target)]
        subprocess.run(command, input=pcm, check=True)
        return target.read_bytes()


def by_ffmpeg(options: str, second: str = "") -> Make:
    return lambda pcm: encode(pcm, options, second)


def changed(change: Callable[[bytes], bytes], options: str) -> Make:
    """The file that ffmpeg encodes, with its bytes changed."""
    return lambda pcm: change(encode(pcm, options))


def id3_tag(content_bytes: int = 3000) -> bytes:
    """An ID3v2.3 tag with a title, and with padding of that size."""
    title = b"TIT2" + struct.pack(">IH", 5, 0) + b"\0Hymn"
    size = len(title) + content_bytes
    sevens = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + sevens + title + bytes(content_bytes)


def behind(prefix: bytes) -> Callable[[bytes], bytes]:
    return lambda data: prefix + data


def cut_front(size: int) -> Callable[[bytes], bytes]:
    return lambda data: data[size:]


def boxes(mp4: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes at the top of an MP4: kind, and all bytes."""
    at = 0
    while at < len(mp4):
        size, kind = struct.unpack_from(">I4s", mp4, at)
        yield kind, mp4[at : at + size]
        at += size


def reordered(*kinds: bytes) -> Callable[[bytes], bytes]:
    """The same MP4 with these boxes in this order; the index is told where the sound is now."""

    def reorder(mp4: bytes) -> bytes:
        found = dict(boxes(mp4))
        before = mp4.index(found[b"mdat"])
        after = sum(len(found[kind]) for kind in kinds[: kinds.index(b"mdat")])
        found[b"moov"] = _shifted(found[b"moov"], after - before)
        return b"".join(found[kind] for kind in kinds)

    return reorder


def _shifted(index: bytes, distance: int) -> bytes:
    """The ``moov`` box with all offsets of sound moved."""
    moved = bytearray(index)
    at = moved.find(b"stco")
    while at >= 0:
        (count,) = struct.unpack_from(">I", moved, at + 8)
        for place in range(at + 12, at + 12 + 4 * count, 4):
            (offset,) = struct.unpack_from(">I", moved, place)
            struct.pack_into(">I", moved, place, offset + distance)
        at = moved.find(b"stco", at + 4)
    return bytes(moved)


def unknown_lengths(wav: bytes) -> bytes:
    """As a recorder leaves them that writes to a pipe, or that was cut off."""
    data = wav.index(b"data")
    unknown = b"\xff" * 4
    return wav[:4] + unknown + wav[8 : data + 4] + unknown + wav[data + 8 :]


def caf(
    packets: list[bytes], *, form: bytes, rate: int, samples: int, cookie: bytes = b""
) -> bytes:
    """A CAF of packets of ``samples`` each, whose table stands behind the sound, as on iPhones."""
    description = struct.pack(">d4sIIIII", rate, form, 0, 0, samples, 1, 0)
    frames = samples * len(packets)
    table = struct.pack(">qqii", len(packets), frames, 0, 0)
    table += b"".join(_varint(len(each)) for each in packets)
    chunks = [(b"desc", description), *([(b"kuki", cookie)] if cookie else [])]
    chunks += [(b"data", bytes(4) + b"".join(packets)), (b"pakt", table)]
    head = b"caff" + struct.pack(">HH", 1, 0)
    return head + b"".join(kind + struct.pack(">q", len(body)) + body for kind, body in chunks)


def _varint(number: int) -> bytes:
    low = bytes([number & 0x7F])
    return (bytes([number >> 7 | 0x80]) + low) if number > 0x7F else low


def caf_opus(pcm: bytes) -> bytes:
    packets = ogg_packets(encode(pcm, "-c:a libopus -frame_duration 20 -f ogg"))[2:]
    return caf(packets, form=b"opus", rate=48_000, samples=960)


def caf_aac(pcm: bytes) -> bytes:
    cookie = bytes.fromhex(
        "0380808022 0000 00 0480808014 4015000000 0000fa00 0000fa00 0580808002 1408 0680808001 02"
    )
    packets = adts_payloads(encode(pcm, "-c:a aac -f adts"))
    return caf(packets, form=b"aac ", rate=RATE, samples=1024, cookie=cookie)


def ogg_packets(data: bytes) -> list[bytes]:
    """All packets of an Ogg file, headers included."""
    packets, packet, at = [], b"", 0
    while at < len(data):
        count = data[at + 26]
        lacing = data[at + 27 : at + 27 + count]
        at += 27 + count
        for size in lacing:
            packet += data[at : at + size]
            at += size
            if size < 255:
                packets.append(packet)
                packet = b""
    return packets


def adts_payloads(stream: bytes) -> list[bytes]:
    """AAC without the header that each frame has in a stream."""
    at, frames = 0, []
    while at < len(stream):
        size = int.from_bytes(stream[at + 3 : at + 6], "big") >> 5 & 0x1FFF
        frames.append(stream[at + 7 : at + size])
        at += size
    return frames


# Why each codec in a container, or each other codec in it, is heard or refused.
REASONS = {
    "Ogg": "forwarded files",
    "Ogg, Opus": "voice notes of WhatsApp, Telegram and Firefox",
    "MP4": "forwarded files",
    "MP4, AAC": "iPhones, Safari, most recorders of phones",
    "MP4, ALAC": "iPhones' lossless recordings",
    "MP4, ALAC, then AAC in a second track": "the first track is heard",
    "MP4, Opus": "Chrome, recorders of Android phones",
    "MP4, H.264, no sound": "a video",
    "MP4, E-AC-3": "films only",
    "3GP": "older Android phones",
    "QuickTime": "macOS",
    "ADTS": "WhatsApp's own list; files from radio streams and cutters",
    "MP3": "forwarded files; cutters leave tags, zeros and halves of frames",
    "AMR": "older phones",
    "WAV": "recorders, call recordings",
    "WAV, IMA ADPCM": "rare, and one more decoder within strangers' reach",
    "WAV, MP3": "rare, and one more decoder within strangers' reach",
    "CAF": "iMessage, recordings of iPhones",
    "WebM": "Chrome and web recorders",
    "Matroska": "the same container as WebM",
    "Matroska, AAC": "videos only",
    "FLAC": "forwarded files, recorders",
    "AIFF": "no phone records it",
    "AU": "no phone records it",
    "ASF": "no phone has recorded it for ten years",
    "AVI": "a video",
    "MPEG-TS": "a video",
    "picture": "no recording",
    "text": "no recording",
}

_MP3 = "-c:a libmp3lame -b:a 48k -ar 44100 -write_xing 0 -id3v2_version 0 -f mp3"
_AAC = "-c:a aac -b:a 32k -f adts"
_MP4_AAC = "-c:a aac -f mp4"
_OPUS = "-c:a libopus -b:a 20k -f ogg"
_COVER = "-map 0 -map 1 -c:v mjpeg -disposition:v attached_pic"

HEARD = [
    Recording("Ogg", "Opus", "plain", "audio/ogg", by_ffmpeg(_OPUS)),
    Recording("Ogg", "Opus", "ID3 tag", "audio/ogg", changed(behind(id3_tag()), _OPUS)),
    Recording("Ogg", "Vorbis", "plain", "application/ogg", by_ffmpeg("-c:a libvorbis -f ogg")),
    Recording("Ogg", "FLAC", "plain", "audio/ogg", by_ffmpeg("-c:a flac -f ogg")),
    Recording("MP4", "AAC", "index behind the sound", "audio/mp4", by_ffmpeg(_MP4_AAC)),
    Recording(
        "MP4", "AAC", "index first", "audio/mp4", by_ffmpeg(f"{_MP4_AAC} -movflags +faststart")
    ),
    Recording(
        "MP4", "AAC", "`mdat` before `ftyp`", "audio/mp4",
        changed(reordered(b"mdat", b"ftyp", b"moov"), _MP4_AAC),
    ),
    Recording(
        "MP4", "AAC", "in fragments", "audio/mp4",
        by_ffmpeg(f"{_MP4_AAC} -movflags +frag_keyframe+empty_moov"),
    ),
    Recording(
        "MP4", "AAC", "with a cover", "audio/mp4",
        by_ffmpeg(f"{_COVER} -c:a aac -f ipod", PICTURE),
    ),
    Recording(
        "MP4", "AAC", "sent as audio, with a video track", "audio/mp4",
        by_ffmpeg("-map 1 -map 0 -c:v libx264 -c:a aac -f mp4", VIDEO),
    ),
    Recording("MP4", "ALAC", "plain", "audio/x-m4a", by_ffmpeg("-c:a alac -f ipod")),
    Recording(
        "MP4", "ALAC, then AAC in a second track", "plain", "audio/x-m4a",
        by_ffmpeg("-map 0 -map 0 -c:a:0 alac -c:a:1 aac -f ipod"),
    ),
    Recording("MP4", "Opus", "plain", "audio/mp4", by_ffmpeg("-c:a libopus -f mp4")),
    Recording("MP4", "FLAC", "plain", "audio/mp4", by_ffmpeg("-c:a flac -f mp4")),
    Recording("MP4", "MP3", "plain", "audio/mp4", by_ffmpeg("-c:a libmp3lame -f mp4")),
    Recording("MP4", "PCM", "plain", "audio/mp4", by_ffmpeg("-c:a pcm_s16le -f mp4")),
    Recording(
        "3GP", "AMR-NB", "plain", "audio/3gpp",
        by_ffmpeg("-c:a libopencore_amrnb -ar 8000 -f 3gp"),
    ),
    Recording("QuickTime", "PCM", "plain", "video/quicktime", by_ffmpeg("-c:a pcm_s16be -f mov")),
    Recording(
        "QuickTime", "AAC", "`wide`, without `ftyp`", "video/quicktime",
        changed(reordered(b"wide", b"mdat", b"moov"), "-c:a aac -f mov"),
    ),
    Recording("ADTS", "AAC", "plain", "audio/aac", by_ffmpeg(_AAC)),
    Recording("ADTS", "AAC", "ID3 tag", "audio/aac", changed(behind(id3_tag()), _AAC)),
    Recording("ADTS", "AAC", "20 foreign bytes", "audio/aac", changed(behind(FOREIGN_BYTES), _AAC)),
    Recording("ADTS", "AAC", "cut within a frame", "audio/aac", changed(cut_front(100), _AAC)),
    Recording("MP3", "MP3", "plain", "audio/mpeg", by_ffmpeg(_MP3)),
    Recording("MP3", "MP3", "ID3 tag", "audio/mpeg", changed(behind(id3_tag()), _MP3)),
    Recording(
        "MP3", "MP3", "ID3 tag with a cover", "audio/mpeg",
        by_ffmpeg("-map 0 -map 1 -c:a libmp3lame -c:v png -f mp3", PICTURE),
    ),
    Recording(
        "MP3", "MP3", "two ID3 tags", "audio/mpeg", changed(behind(id3_tag() + id3_tag(10)), _MP3)
    ),
    Recording("MP3", "MP3", "zeros", "audio/mpeg", changed(behind(bytes(300_000)), _MP3)),
    Recording("MP3", "MP3", "20 foreign bytes", "audio/mpeg", changed(behind(FOREIGN_BYTES), _MP3)),
    Recording("MP3", "MP3", "cut within a frame", "audio/mpeg", changed(cut_front(100), _MP3)),
    Recording(
        "MP3", "MP3 at 8 kHz", "plain", "audio/mpeg",
        by_ffmpeg("-c:a libmp3lame -ar 8000 -write_xing 0 -id3v2_version 0 -f mp3"),
    ),
    Recording("MP3", "MP2", "plain", "audio/mpeg", by_ffmpeg("-c:a mp2 -ar 44100 -f mp2")),
    Recording("MP3", "MP2 at 16 kHz", "plain", "audio/mpeg", by_ffmpeg("-c:a mp2 -f mp2")),
    Recording(
        "AMR", "AMR-NB", "plain", "audio/amr", by_ffmpeg("-c:a libopencore_amrnb -ar 8000 -f amr")
    ),
    Recording("WAV", "16-bit PCM", "plain", "audio/wav", by_ffmpeg("-f wav")),
    Recording(
        "WAV", "16-bit PCM", "lengths that say nothing", "audio/wav",
        changed(unknown_lengths, "-f wav"),
    ),
    Recording("WAV", "8-bit PCM", "plain", "audio/x-wav", by_ffmpeg("-c:a pcm_u8 -f wav")),
    Recording("WAV", "24-bit PCM", "plain", "audio/x-wav", by_ffmpeg("-c:a pcm_s24le -f wav")),
    Recording("WAV", "float PCM", "plain", "audio/x-wav", by_ffmpeg("-c:a pcm_f32le -f wav")),
    Recording("WAV", "A-law", "plain", "audio/wav", by_ffmpeg("-c:a pcm_alaw -ar 8000 -f wav")),
    Recording("WAV", "µ-law", "plain", "audio/wav", by_ffmpeg("-c:a pcm_mulaw -ar 8000 -f wav")),
    Recording("CAF", "PCM", "plain", "audio/x-caf", by_ffmpeg("-c:a pcm_s16be -f caf")),
    Recording("CAF", "ALAC", "plain", "audio/x-caf", by_ffmpeg("-c:a alac -f caf")),
    Recording("CAF", "IMA ADPCM", "plain", "audio/x-caf", by_ffmpeg("-c:a adpcm_ima_qt -f caf")),
    Recording("CAF", "Opus", "packet table behind the sound", "audio/x-caf", caf_opus),
    Recording("CAF", "AAC", "packet table behind the sound", "audio/x-caf", caf_aac),
    Recording("WebM", "Opus", "plain", "audio/webm", by_ffmpeg("-c:a libopus -f webm")),
    Recording(
        "WebM", "Opus", "of unknown length", "audio/webm", by_ffmpeg("-c:a libopus -live 1 -f webm")
    ),
    Recording("WebM", "Vorbis", "plain", "audio/webm", by_ffmpeg("-c:a libvorbis -f webm")),
    Recording(
        "Matroska", "Opus", "plain", "audio/x-matroska", by_ffmpeg("-c:a libopus -f matroska")
    ),
    Recording("FLAC", "FLAC", "plain", "audio/flac", by_ffmpeg("-f flac")),
    Recording("FLAC", "FLAC", "ID3 tag", "audio/flac", changed(behind(id3_tag()), "-f flac")),
]  # fmt: skip

REFUSED = [
    Recording(
        "MP4", "H.264, no sound", "plain", "video/mp4",
        by_ffmpeg("-map 1 -c:v libx264 -f mp4", VIDEO), "mov, h264",
    ),
    Recording("MP4", "E-AC-3", "plain", "audio/mp4",
              by_ffmpeg("-c:a eac3 -ar 48000 -f mp4"), "mov, eac3"),
    Recording("Matroska", "AAC", "plain", "audio/x-matroska",
              by_ffmpeg("-c:a aac -f matroska"), "matroska, aac"),
    Recording("WAV", "IMA ADPCM", "plain", "audio/wav",
              by_ffmpeg("-c:a adpcm_ima_wav -f wav"), "wav, adpcm_ima_wav"),
    Recording("WAV", "MP3", "plain", "audio/wav",
              by_ffmpeg("-c:a libmp3lame -f wav"), "wav, mp3float"),
    Recording("AIFF", "PCM", "plain", "audio/aiff", by_ffmpeg("-f aiff"), "aiff"),
    Recording("AU", "PCM", "plain", "audio/basic", by_ffmpeg("-f au"), "au"),
    Recording("ASF", "WMA", "plain", "audio/x-ms-wma", by_ffmpeg("-c:a wmav2 -f asf"), "asf"),
    Recording("AVI", "PCM", "plain", "audio/wav", by_ffmpeg("-f avi"), "avi"),
    Recording("MPEG-TS", "AAC", "plain", "audio/aac", by_ffmpeg("-c:a aac -f mpegts"), "mpegts"),
    Recording("picture", "PNG", "plain", "audio/mpeg",
              by_ffmpeg("-map 1 -c:v png -f image2pipe", PICTURE), "png_pipe"),
    Recording("text", "HTML", "plain", "audio/ogg",
              lambda _: b"<!doctype html><title>404</title>", "unknown"),
]  # fmt: skip
