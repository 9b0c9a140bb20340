"""Audio bytes: converted, judged and joined by ffmpeg and pydub, over pipes and in memory."""

from __future__ import annotations

import os
import subprocess
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import imageio_ffmpeg

from errors import AudioError, AudioSilent, AudioTooLong, AudioTooShort, AudioUnreadable

with warnings.catch_warnings():
    # pydub misses an ffmpeg on the PATH; it is given PCM only and needs none.
    warnings.simplefilter("ignore", RuntimeWarning)
    from pydub import AudioSegment
    from pydub.silence import detect_leading_silence

# ElevenLabs' low-latency form: headerless 16-bit little-endian, 16 kHz, mono
# (contracts/elevenlabs.md §1.2).
SAMPLE_RATE = 16_000
SAMPLE_WIDTH = 2

# WhatsApp draws a play button up to this size, a download arrow beyond (contracts/twilio.md §5.3).
NOTE_LIMIT = 512 * 1024

# A word needs more; ElevenLabs itself refuses less than 0.1 s.
SHORTEST_SECONDS = 0.3
SHORTEST_SOUND_MS = 100
# Peaks of speech, whispered ones too, lie well above; a phone's own noise below.
SILENCE_PEAK_DBFS = -45.0
SILENCE_EDGE_DBFS = -50.0
KEPT_EDGE_MS = 150

# A note of 5 minutes takes 0.3 s to convert; a conversion that takes this long is an attack.
FFMPEG_TIMEOUT = 30.0
LOWEST_BITRATE = 8_000
_ONLY_AUDIO = ("-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1")
OPUS_RATE = 48_000
MP3_BITRATE = 64_000


@dataclass(frozen=True)
class Format:
    """An audio container by ffmpeg's name for its demuxer; ``seeks`` where a pipe won't do."""

    demuxer: str
    seeks: bool = False


OGG = Format("ogg")
MP3 = Format("mp3")


def sniff(data: bytes) -> Format | None:
    """The container that the bytes themselves show; names and types from outside can lie."""
    if data.startswith(b"OggS"):
        return OGG
    if data.startswith(b"#!AMR"):
        return Format("amr")
    if data[4:8] == b"ftyp":
        # Phones write the index behind the audio, out of a pipe's reach.
        return Format("mov", seeks=True)
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return Format("wav")
    if data.startswith(b"\x1aE\xdf\xa3"):
        return Format("matroska")
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        return Format("aac")
    if data.startswith(b"ID3") or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0):
        return MP3
    return None


class Ffmpeg:
    """ffmpeg as a subprocess: bytes in, bytes out, no files, no network, one per core."""

    def __init__(self, *, path: str = "", longest_seconds: float) -> None:
        self._path = path or imageio_ffmpeg.get_ffmpeg_exe()
        self._longest = longest_seconds
        self._cores = threading.BoundedSemaphore(os.cpu_count() or 1)

    def decode(self, data: bytes) -> bytes:
        """Any audio WhatsApp sends, as 16 kHz mono PCM, cut a second behind ``longest_seconds``.

        Raises ``AudioUnreadable``.
        """
        container = sniff(data)
        if container is None:
            raise AudioUnreadable("the recording is of no known audio format")
        source = ["-f", container.demuxer]
        source += ["-fd", "0", "-i", "fd:"] if container.seeks else ["-i", "pipe:0"]
        pcm = self._run(
            [*source, *_ONLY_AUDIO, "-ac", "1", "-ar", str(SAMPLE_RATE)]
            + ["-t", str(self._longest + 1), "-f", "s16le", "pipe:1"],
            data,
        )
        if not pcm:
            raise AudioUnreadable("the recording holds no audio")
        return pcm

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Ogg/Opus pieces as one Ogg/Opus file, by stream copy.

        Laid end to end they would make a chained Ogg, which players misread (design.md §3.6).
        """
        if len(pieces) == 1:
            return pieces[0]
        with _in_memory(pieces) as files:
            descriptors = [file.fileno() for file in files]
            playlist = "".join(f"file 'pipe:{number}'\n" for number in descriptors)
            return self._run(
                ["-f", "concat", "-safe", "0", "-i", "pipe:0", "-c", "copy", "-f", "ogg", "pipe:1"],
                playlist.encode(),
                descriptors,
            )

    def encode_note(self, data: bytes, bitrate: int = 32_000) -> bytes:
        """Any audio as the Ogg/Opus of a voice note, ``bitrate`` in bits per second."""
        voip = ["-application", "voip", "-f", "ogg"]
        return self._encode(data, ["-c:a", "libopus", "-b:a", str(bitrate), *voip])

    def encode_mp3(self, note: bytes) -> bytes:
        """A voice note as MP3, for phones and channels that refuse its own format."""
        # A pipe cannot be rewound to fill in a Xing header; with a constant rate none is needed.
        plain = ["-write_xing", "0", "-f", "mp3"]
        return self._encode(note, ["-c:a", "libmp3lame", "-b:a", str(MP3_BITRATE), *plain])

    def fit_note(self, note: bytes, limit: int = NOTE_LIMIT) -> bytes:
        """The note itself, or the same in fewer bits where it is larger than ``limit``.

        Raises ``AudioTooLong`` where even the lowest useful bit rate is too much.
        """
        if len(note) <= limit:
            return note
        # Containers and variable rates take their share.
        bitrate = int(limit * 8 * 0.85 / max(opus_seconds(note), 1.0))
        if bitrate < LOWEST_BITRATE:
            raise AudioTooLong("the voice note is too long for WhatsApp at any bit rate")
        smaller = self.encode_note(note, bitrate)
        if len(smaller) > limit:
            raise AudioTooLong("the voice note stays too large for WhatsApp")
        return smaller

    def _encode(self, data: bytes, codec: list[str]) -> bytes:
        container = sniff(data) or MP3
        source = ["-f", container.demuxer, "-i", "pipe:0", *_ONLY_AUDIO]
        return self._run([*source, "-ac", "1", "-ar", str(OPUS_RATE), *codec, "pipe:1"], data)

    def _run(self, arguments: list[str], data: bytes, descriptors: Sequence[int] = ()) -> bytes:
        command = [self._path, "-nostdin", "-hide_banner", "-loglevel", "error"]
        command += ["-protocol_whitelist", "pipe,fd", "-threads", "1", *arguments]
        with self._cores, _in_memory([data]) as (stdin,):
            try:
                done = subprocess.run(
                    command,
                    stdin=stdin,
                    capture_output=True,
                    timeout=FFMPEG_TIMEOUT,
                    pass_fds=descriptors,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise AudioUnreadable("ffmpeg took too long") from None
            except OSError as error:
                raise AudioError(f"ffmpeg cannot be run: {error}") from error
        if done.returncode != 0:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise AudioUnreadable(f"ffmpeg: {' '.join(last) or done.returncode}")
        return done.stdout


def trim(pcm: bytes, *, longest_seconds: float) -> bytes:
    """Speech without the silence around it, judged before anyone is paid to transcribe it.

    ``pcm`` as ``Ffmpeg.decode`` returns it. Raises ``AudioTooLong``, ``AudioTooShort`` or
    ``AudioSilent``.
    """
    whole = AudioSegment(
        data=pcm[: len(pcm) // SAMPLE_WIDTH * SAMPLE_WIDTH],
        sample_width=SAMPLE_WIDTH,
        frame_rate=SAMPLE_RATE,
        channels=1,
    )
    if whole.duration_seconds > longest_seconds:
        raise AudioTooLong
    if whole.duration_seconds < SHORTEST_SECONDS:
        raise AudioTooShort
    if whole.max_dBFS < SILENCE_PEAK_DBFS:
        raise AudioSilent
    start = detect_leading_silence(whole, SILENCE_EDGE_DBFS)
    end = detect_leading_silence(whole.reverse(), SILENCE_EDGE_DBFS)
    if len(whole) - start - end < SHORTEST_SOUND_MS:
        raise AudioTooShort
    speech = whole[max(start - KEPT_EDGE_MS, 0) : len(whole) - max(end - KEPT_EDGE_MS, 0)]
    return bytes(speech.raw_data)


def pcm_seconds(pcm: bytes) -> float:
    """How long ``Ffmpeg.decode``'s PCM lasts."""
    return len(pcm) / (SAMPLE_RATE * SAMPLE_WIDTH)


def opus_seconds(note: bytes) -> float:
    """How long an Ogg/Opus file lasts: the granule position of its last page, in 48 kHz samples."""
    page = note.rfind(b"OggS")
    if page < 0:
        return 0.0
    return int.from_bytes(note[page + 6 : page + 14], "little", signed=True) / OPUS_RATE


@contextmanager
def _in_memory(contents: Sequence[bytes]) -> Iterator[list[IO[bytes]]]:
    """Anonymous files in memory that a child process can read, even out of order."""
    files: list[IO[bytes]] = []
    try:
        for content in contents:
            file: IO[bytes] = os.fdopen(os.memfd_create("audio"), "w+b")
            files.append(file)
            file.write(content)
            file.flush()
            file.seek(0)
        yield files
    finally:
        for file in files:
            file.close()
