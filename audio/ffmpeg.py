"""Audio bytes: converted, judged and joined, in memory; ffmpeg does what takes a codec."""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO

import imageio_ffmpeg

from audio import ogg
from audio.confinement import Launcher
from audio.ffmpeg_process import CPU_SECONDS, FfmpegProcess, FfmpegResult
from audio.formats import MP3, AudioFormat, detect_format
from core.errors import AudioError, AudioSilent, AudioTooLong, AudioTooShort, AudioUnreadable
from core.settings import operators_environment

with warnings.catch_warnings():
    # pydub misses an ffmpeg on the PATH; it is given PCM only and needs none.
    warnings.simplefilter("ignore", RuntimeWarning)
    # From Python 3.12 on its escapes are complained of wherever it is compiled at the start.
    warnings.simplefilter("ignore", SyntaxWarning)
    from pydub import AudioSegment
    from pydub.utils import audioop

# ElevenLabs' low-latency form: headerless 16-bit little-endian, 16 kHz, mono
# (docs/providers/elevenlabs.md, "Speech to text").
SAMPLE_RATE = 16_000
SAMPLE_WIDTH = 2

# WhatsApp draws a play button up to this size, a download arrow beyond
# (docs/providers/twilio.md, "Voice notes").
NOTE_LIMIT = 512 * 1024

# A word needs more; ElevenLabs itself refuses less than 0.1 s.
SHORTEST_SECONDS = 0.3
SHORTEST_SOUND_MS = 100
# Peaks of speech, whispered ones too, lie well above; a phone's own noise below.
SILENCE_PEAK_DBFS = -45.0
SILENCE_EDGE_DBFS = -50.0
EDGE_STEP_MS = 20
KEPT_EDGE_MS = 150

# Recordings that are decoded while they arrive, beside complete ones on each core: they hold their
# place for as long as the network takes.
STREAMS_AT_ONCE = 2
# What an encoded file may grow to: WhatsApp's own limit
# (docs/providers/twilio.md, "Recordings").
LARGEST_FILE = 16 * 1024 * 1024
LOWEST_BITRATE = 8_000
# The CPU that decoding a second of sound may take: five minutes of 48 kHz stereo take 1.3 s, and
# other machines may be four times slower. What cannot be decoded is bounded by this alone.
DECODING_CPU = 4 * 1.3 / 300
_ONLY_AUDIO = ("-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1")
MP3_BITRATE = 64_000
_OGG = ("-f", "ogg", "pipe:1")
# Demuxer, decoder and resampler in one thread that hands on a second of sound at a time; the
# program's own pipeline wakes five threads for every 20 ms
# (docs/decisions.md, "Ogg/Opus joined without re-encoding").
_STREAMED = (
    "amovie=pipe\\\\:0:format_name=ogg:stream_index=0:dec_threads=1"
    ":format_opts=protocol_whitelist=pipe\\\\:codec_whitelist=opus"
    f",aresample={SAMPLE_RATE},aformat=sample_fmts=s16:channel_layouts=mono"
    f",asetnsamples={SAMPLE_RATE}:pad=0"
)


class Ffmpeg:
    """ffmpeg as a subprocess: bytes in, bytes out, no files, no network, one per core."""

    def __init__(self, *, path: str = "", longest_seconds: float) -> None:
        self._path = path or imageio_ffmpeg.get_ffmpeg_exe()
        # Neither is told secrets; ours needs nothing.
        self._environment = operators_environment() if path else dict[str, str]()
        libraries = self._environment.get("LD_LIBRARY_PATH", "").split(":")
        self._launcher = Launcher(self._path, libraries=libraries)
        self._seconds = longest_seconds + 1
        self._largest_pcm = int((self._seconds + 2) * SAMPLE_RATE) * SAMPLE_WIDTH
        self._decoding_cpu = math.ceil(self._seconds * DECODING_CPU)
        self._cores = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))
        self._streams = threading.BoundedSemaphore(STREAMS_AT_ONCE)

    def decode(self, data: bytes | bytearray) -> bytes:
        """Any audio WhatsApp sends, as 16 kHz mono PCM, cut a second behind ``longest_seconds``.

        Raises ``AudioUnreadable``.
        """
        container = detect_format(data)
        if container is None:
            raise AudioUnreadable("the recording is of no known audio format")
        with self._cores:
            pcm = self._decode_stream(data) if container.streams else None
            if pcm is None:
                pcm = self._decode_all(data, container)
        if not pcm:
            raise AudioUnreadable("the recording holds no audio")
        return pcm

    def open_stream(self) -> StreamDecoder | None:
        """A decoder to feed with Ogg/Opus as it comes in, where one can be had at once."""
        if not self._streams.acquire(blocking=False):
            return None
        with ExitStack() as held:
            held.callback(self._streams.release)
            try:
                conversion = held.enter_context(self._streaming())
            except AudioError:
                return None
            return StreamDecoder(conversion, held.pop_all())

    def join(self, pieces: Sequence[bytes]) -> bytes:
        """Ogg/Opus pieces as one Ogg/Opus file, without re-encoding.

        Laid end to end they would make a chained Ogg, which players misread
        (docs/providers/elevenlabs.md, "Ogg/Opus").
        """
        try:
            return ogg.join(pieces)
        except AudioUnreadable:
            # ffmpeg is less strict, and forty times as dear.
            return self._concatenated(pieces)

    def encode_note(self, data: bytes, bitrate: int = 32_000) -> bytes:
        """Any audio as the Ogg/Opus of a voice note, ``bitrate`` in bits per second."""
        opus = ["-c:a", "libopus", "-b:a", str(bitrate), "-application", "voip"]
        return self._encoded(data, [*opus, *_OGG])

    def encode_mp3(self, note: bytes) -> bytes:
        """A voice note as MP3, for phones and channels that refuse its own format."""
        # A pipe cannot be rewound to fill in a Xing header; with a constant rate none is needed.
        plain = ["-write_xing", "0", "-f", "mp3", "pipe:1"]
        return self._encoded(note, ["-c:a", "libmp3lame", "-b:a", str(MP3_BITRATE), *plain])

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

    def _encoded(self, data: bytes, codec: list[str]) -> bytes:
        container = detect_format(data) or MP3
        arguments = [*_input(container), *_ONLY_AUDIO, "-ac", "1", "-ar", str(ogg.RATE), *codec]
        with self._cores, memory_file([data]) as (source,):
            return _output(self._start(arguments, source))

    def _decode_stream(self, data: bytes | bytearray) -> bytes | None:
        """The faster way; ``None`` where ffmpeg complains, so that some sound may be missing."""
        with memory_file([data]) as (source,), self._streaming(source) as run:
            result = run.result()
        return result.output if _is_flawless(result) else None

    def _decode_all(self, data: bytes | bytearray, container: AudioFormat) -> bytes:
        """The slower way, which skips what is broken and goes on behind it."""
        shape = ["-ac", "1", "-ar", str(SAMPLE_RATE)]
        arguments = [*_input(container), *_ONLY_AUDIO, *shape, *self._pcm()]
        with memory_file([data]) as (source,):
            return _output(self._start_decoding(arguments, source))

    def _pcm(self) -> list[str]:
        """Where PCM goes, and how much of it."""
        return ["-t", str(self._seconds), "-f", "s16le", "pipe:1"]

    def _streaming(self, source: IO[bytes] | None = None) -> FfmpegProcess:
        """Of ``source``, or of what it is fed."""
        return self._start_decoding(
            ["-f", "lavfi", "-i", _STREAMED, "-c", "copy", *self._pcm()], source
        )

    def _concatenated(self, pieces: Sequence[bytes]) -> bytes:
        with self._cores, memory_file(pieces) as files:
            descriptors = [file.fileno() for file in files]
            playlist = "".join(f"file 'pipe:{number}'\n" for number in descriptors).encode()
            source_format = ["-format_whitelist", "concat,ogg", "-f", "concat", "-safe", "0"]
            arguments = [*source_format, "-i", "pipe:0", "-c", "copy", *_OGG]
            with memory_file([playlist]) as (source,):
                return _output(self._start(arguments, source, descriptors))

    def _start_decoding(self, arguments: list[str], source: IO[bytes] | None) -> FfmpegProcess:
        """Within what one recording takes."""
        largest, cpu_seconds = self._largest_pcm, self._decoding_cpu
        return self._start(arguments, source, largest=largest, cpu_seconds=cpu_seconds)

    def _start(
        self,
        arguments: list[str],
        source: IO[bytes] | None,
        descriptors: Sequence[int] = (),
        *,
        largest: int = LARGEST_FILE,
        cpu_seconds: int = CPU_SECONDS,
    ) -> FfmpegProcess:
        command = [self._path, "-nostdin", "-hide_banner", "-loglevel", "error"]
        command += ["-protocol_whitelist", "pipe,fd", "-threads", "1", *arguments]
        return FfmpegProcess(
            command,
            source=source,
            descriptors=descriptors,
            largest=largest,
            cpu_seconds=cpu_seconds,
            environment=self._environment,
            launcher=self._launcher,
        )


class StreamDecoder:
    """An Ogg/Opus recording that is decoded while it is fed; to be closed whatever happens."""

    def __init__(self, conversion: FfmpegProcess, held: ExitStack) -> None:
        self._conversion = conversion
        self._held = held

    def write(self, chunk: bytes) -> None:
        """Hand over what came in; never waits."""
        self._conversion.write(chunk)

    def pcm(self) -> bytes | None:
        """As ``Ffmpeg.decode`` would return it, or ``None`` where that has to try."""
        result = self._conversion.result()
        return result.output if _is_flawless(result) else None

    def close(self) -> None:
        self._held.close()


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
    start = _leading_silence(whole)
    end = _leading_silence(whole.reverse())
    if len(whole) - start - end < SHORTEST_SOUND_MS:
        raise AudioTooShort
    speech = whole[max(start - KEPT_EDGE_MS, 0) : len(whole) - max(end - KEPT_EDGE_MS, 0)]
    return bytes(speech.raw_data)


def _leading_silence(sound: AudioSegment) -> int:
    """Its milliseconds, as pydub's ``detect_leading_silence`` has them, which is ten times slower.

    That makes an object for each step, and holds the interpreter for 0.1 s in 5 minutes of silence.
    """
    samples = memoryview(sound.raw_data)
    step = EDGE_STEP_MS * SAMPLE_RATE // 1000 * SAMPLE_WIDTH
    loud = sound.max_possible_amplitude * 10 ** (SILENCE_EDGE_DBFS / 20)
    for number, at in enumerate(range(0, len(samples), step)):
        if audioop.rms(samples[at : at + step], SAMPLE_WIDTH) >= loud:
            return number * EDGE_STEP_MS
    return len(sound)


def pcm_seconds(pcm: bytes) -> float:
    """How long ``Ffmpeg.decode``'s PCM lasts."""
    return len(pcm) / (SAMPLE_RATE * SAMPLE_WIDTH)


def opus_seconds(note: bytes) -> float:
    """How long an Ogg/Opus file lasts: the granule position of its last page, in 48 kHz samples."""
    page = note.rfind(b"OggS")
    if page < 0:
        return 0.0
    return int.from_bytes(note[page + 6 : page + 14], "little", signed=True) / ogg.RATE


def _input(container: AudioFormat) -> list[str]:
    source = ["-fd", "0", "-i", "fd:"] if container.seeks else ["-i", "pipe:0"]
    return ["-codec_whitelist", container.decoders, "-f", container.demuxer, *source]


def _output(conversion: FfmpegProcess) -> bytes:
    with conversion:
        result = conversion.result()
    if result.code != 0:
        last = result.stderr.splitlines()[-1:]
        raise AudioUnreadable(f"ffmpeg: {' '.join(last) or result.code}")
    return result.output


def _is_flawless(result: FfmpegResult) -> bool:
    """Whether it ran without complaints; otherwise some sound may be missing.

    Raises ``AudioUnreadable`` where a limit ended it, which it would do again.
    """
    if result.code < 0:
        raise AudioUnreadable(f"ffmpeg was ended by signal {-result.code}")
    return result.code == 0 and not result.stderr


@contextmanager
def memory_file(contents: Sequence[bytes | bytearray]) -> Iterator[list[IO[bytes]]]:
    """Anonymous files in memory that a child process can read, even out of order."""
    with ExitStack() as opened:
        files: list[IO[bytes]] = []
        for content in contents:
            file = opened.enter_context(os.fdopen(os.memfd_create("audio"), "w+b"))
            file.write(content)
            file.flush()
            file.seek(0)
            files.append(file)
        yield files
