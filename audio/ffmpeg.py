"""Decodes, joins and encodes recordings with ffmpeg, all in memory.

Ogg/Opus files are joined without ffmpeg, unless they are unusual.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO

import imageio_ffmpeg

from audio import ogg
from audio.confinement import Launcher
from audio.ffmpeg_arguments import (
    COMMON,
    GUESS_FORMAT_ARGUMENTS,
    MONO_16_KHZ,
    MP3_OUTPUT,
    OGG_OUTPUT,
    OGG_PLAYLIST_INPUT,
    ONLY_AUDIO,
    OPUS_STREAM_INPUT,
    SAMPLE_RATE,
    SAMPLE_WIDTH,
    file_input,
    guessed_format,
    opus_encoder,
    pcm_output,
    refused_codecs,
)
from audio.ffmpeg_process import CPU_SECONDS, FfmpegProcess, FfmpegResult
from audio.formats import MP3, AudioFormat, FoundRecording, detect_format, find_recording
from core.errors import AudioError, AudioTooLong, AudioUnreadable
from core.settings import ffmpeg_environment

# WhatsApp draws a play button up to this size, a download arrow beyond
# (docs/providers/twilio.md, "Voice notes").
NOTE_MAX_BYTES = 512 * 1024

# How many recordings are decoded while they are downloaded. They come on top of one ffmpeg for each
# core, because most of the time they wait for the network.
STREAMS_AT_ONCE = 2
# The largest file that an encoder may write: WhatsApp's own limit
# (docs/providers/twilio.md, "Recordings").
MAX_OUTPUT_BYTES = 16 * 1024 * 1024
MIN_BITRATE = 8_000
# CPU seconds that decoding a second of sound may take: five minutes of 48 kHz stereo take 1.3 s,
# and other machines may be four times slower. For a recording that cannot be decoded there is no
# other limit.
DECODING_CPU_SECONDS = 4 * 1.3 / 300
# ffmpeg needs fewer bytes to recognise any format.
_FORMAT_GUESS_BYTES = 64 * 1024


class Ffmpeg:
    """Runs ffmpeg on bytes in memory, without files and network; one run per core at a time."""

    def __init__(self, *, path: str = "", max_seconds: float) -> None:
        self._path = path or imageio_ffmpeg.get_ffmpeg_exe()
        # ffmpeg gets no secrets. The program in the wheel needs no environment at all.
        self._environment = ffmpeg_environment() if path else dict[str, str]()
        libraries = self._environment.get("LD_LIBRARY_PATH", "").split(":")
        self._launcher = Launcher(self._path, libraries=libraries)
        self._seconds = max_seconds + 1
        self._max_pcm_bytes = int((self._seconds + 2) * SAMPLE_RATE) * SAMPLE_WIDTH
        self._decoding_cpu_seconds = math.ceil(self._seconds * DECODING_CPU_SECONDS)
        self._cores = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))
        self._streams = threading.BoundedSemaphore(STREAMS_AT_ONCE)

    def decode(self, data: bytes | bytearray) -> bytes:
        """Any supported recording as 16 kHz mono PCM, cut one second after ``max_seconds``.

        Raises ``AudioUnreadable``, which names the format if it is not supported.
        """
        found = find_recording(data)
        with self._cores:
            if found is None or self._is_something_else(data, found):
                raise _unsupported(self._guess_format(data))
            recording = memoryview(data)[found.start :]
            pcm = self._decode_stream(recording) if found.audio_format.streams else None
            if pcm is None:
                pcm = self._decode_all(recording, found.audio_format)
        if not pcm:
            raise AudioUnreadable("the recording holds no audio")
        return pcm

    def open_stream(self) -> StreamDecoder | None:
        """A decoder for Ogg/Opus that is still being downloaded; ``None`` if all are in use."""
        if not self._streams.acquire(blocking=False):
            return None
        with ExitStack() as resources:
            resources.callback(self._streams.release)
            try:
                process = resources.enter_context(self._start_opus_decoder())
            except AudioError:
                return None
            return StreamDecoder(process, resources.pop_all())

    def join(self, segments: Sequence[bytes]) -> bytes:
        """Join Ogg/Opus segments to one Ogg/Opus file, without re-encoding.

        Concatenated bytes would be a chained Ogg file, which players misread
        (docs/providers/elevenlabs.md, "Ogg/Opus").
        """
        try:
            return ogg.join(segments)
        except AudioUnreadable:
            # ffmpeg is less strict, and takes forty times as much CPU.
            return self._concatenate(segments)

    def encode_note(self, data: bytes, bitrate: int = 32_000) -> bytes:
        """Any audio as the Ogg/Opus of a voice note, ``bitrate`` in bits per second."""
        return self._encode(data, opus_encoder(bitrate))

    def encode_mp3(self, note: bytes) -> bytes:
        """A voice note as MP3, for phones and channels that refuse Ogg/Opus."""
        return self._encode(note, MP3_OUTPUT)

    def fit_note(self, note: bytes, limit: int = NOTE_MAX_BYTES) -> bytes:
        """The note itself, or a copy with a lower bit rate if it is larger than ``limit`` bytes.

        Raises ``AudioTooLong`` if even the lowest useful bit rate is too much.
        """
        if len(note) <= limit:
            return note
        # Leave room for the container, and because the bit rate varies.
        bitrate = int(limit * 8 * 0.85 / max(opus_seconds(note), 1.0))
        if bitrate < MIN_BITRATE:
            raise AudioTooLong("the voice note is too long for WhatsApp at any bit rate")
        smaller = self.encode_note(note, bitrate)
        if len(smaller) > limit:
            raise AudioTooLong("the voice note stays too large for WhatsApp")
        return smaller

    def _encode(self, data: bytes, output: list[str]) -> bytes:
        audio_format = detect_format(data) or MP3
        mono = ["-ac", "1", "-ar", str(ogg.RATE)]
        arguments = [*file_input(audio_format), *ONLY_AUDIO, *mono, *output]
        with self._cores, memory_file([data]) as (source,), self._start(arguments, source) as run:
            return _output(run.result())

    def _decode_stream(self, data: memoryview) -> bytes | None:
        """Decode Ogg/Opus the fast way; ``None`` if ffmpeg complains: sound may be missing."""
        with memory_file([data]) as (source,), self._start_opus_decoder(source) as run:
            result = run.result()
        return result.output if _is_flawless(result) else None

    def _decode_all(self, data: bytes | bytearray | memoryview, audio_format: AudioFormat) -> bytes:
        """Decode any format the slow way, which skips broken frames and continues after them."""
        output = pcm_output(self._seconds)
        arguments = [*file_input(audio_format), *ONLY_AUDIO, *MONO_16_KHZ, *output]
        with memory_file([data]) as (source,), self._start_decoder(arguments, source) as run:
            result = run.result()
        codecs = refused_codecs(result.stderr)
        if result.code != 0 and codecs:
            raise _unsupported(", ".join([audio_format.demuxer, *codecs]))
        return _output(result)

    def _is_something_else(self, data: bytes | bytearray, found: FoundRecording) -> bool:
        """Whether ffmpeg recognises the file as another format that contains ``found``."""
        expected = ("unknown", found.audio_format.demuxer)
        return found.behind_foreign_bytes and self._guess_format(data) not in expected

    def _guess_format(self, data: bytes | bytearray) -> str:
        """Ffmpeg's name for the format of ``data``; "unknown" if it is not sure."""
        beginning = memoryview(data)[:_FORMAT_GUESS_BYTES]
        with (
            memory_file([beginning]) as (source,),
            self._start(GUESS_FORMAT_ARGUMENTS, source) as run,
        ):
            return guessed_format(run.result().stderr)

    def _concatenate(self, segments: Sequence[bytes]) -> bytes:
        with self._cores, memory_file(segments) as files:
            descriptors = [file.fileno() for file in files]
            playlist = "".join(f"file 'pipe:{number}'\n" for number in descriptors).encode()
            arguments = [*OGG_PLAYLIST_INPUT, "-c", "copy", *OGG_OUTPUT]
            with (
                memory_file([playlist]) as (source,),
                self._start(arguments, source, descriptors) as run,
            ):
                return _output(run.result())

    def _start_opus_decoder(self, source: IO[bytes] | None = None) -> FfmpegProcess:
        """Decode ``source`` or, without one, the input that is written to the process."""
        return self._start_decoder([*OPUS_STREAM_INPUT, *pcm_output(self._seconds)], source)

    def _start_decoder(self, arguments: list[str], source: IO[bytes] | None) -> FfmpegProcess:
        """Start ffmpeg with the limits of one recording."""
        return self._start(
            arguments,
            source,
            max_output_bytes=self._max_pcm_bytes,
            cpu_seconds=self._decoding_cpu_seconds,
        )

    def _start(
        self,
        arguments: list[str],
        source: IO[bytes] | None,
        descriptors: Sequence[int] = (),
        *,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        cpu_seconds: int = CPU_SECONDS,
    ) -> FfmpegProcess:
        return FfmpegProcess(
            [self._path, *COMMON, *arguments],
            source=source,
            descriptors=descriptors,
            max_output_bytes=max_output_bytes,
            cpu_seconds=cpu_seconds,
            environment=self._environment,
            launcher=self._launcher,
        )


class StreamDecoder:
    """Decodes an Ogg/Opus recording while it is downloaded. Must be closed in every case."""

    def __init__(self, process: FfmpegProcess, resources: ExitStack) -> None:
        self._process = process
        self._resources = resources

    def write(self, chunk: bytes) -> None:
        """Pass on the next bytes of the recording; never waits."""
        self._process.write(chunk)

    def pcm(self) -> bytes | None:
        """The PCM, as from ``Ffmpeg.decode``; ``None`` if only that can decode the recording."""
        result = self._process.result()
        return result.output if _is_flawless(result) else None

    def close(self) -> None:
        self._resources.close()


def opus_seconds(note: bytes) -> float:
    """The duration of an Ogg/Opus file, from the granule position of its last page."""
    page = note.rfind(b"OggS")
    if page < 0:
        return 0.0
    return int.from_bytes(note[page + 6 : page + 14], "little", signed=True) / ogg.RATE


def _unsupported(name: str) -> AudioUnreadable:
    return AudioUnreadable(f"recording in a format that is not supported: '{name}'")


def _output(result: FfmpegResult) -> bytes:
    if result.code != 0:
        last = result.stderr.splitlines()[-1:]
        raise AudioUnreadable(f"ffmpeg: {' '.join(last) or result.code}")
    return result.output


def _is_flawless(result: FfmpegResult) -> bool:
    """Whether ffmpeg finished without complaints; otherwise some sound may be missing.

    Raises ``AudioUnreadable`` if a limit ended ffmpeg, because it would end a second run too.
    """
    if result.code < 0:
        raise AudioUnreadable(f"ffmpeg was ended by signal {-result.code}")
    return result.code == 0 and not result.stderr


@contextmanager
def memory_file(
    contents: Sequence[bytes | bytearray | memoryview],
) -> Iterator[list[IO[bytes]]]:
    """Anonymous files in memory, which a child process can read and seek in."""
    with ExitStack() as opened:
        files: list[IO[bytes]] = []
        for content in contents:
            file = opened.enter_context(os.fdopen(os.memfd_create("audio"), "w+b"))
            file.write(content)
            file.flush()
            file.seek(0)
            files.append(file)
        yield files
