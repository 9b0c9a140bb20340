"""Converts audio with ffmpeg: the formats of ElevenLabs, and those that phones record."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path

from sandbox.speech import Sound
from sandbox.speech.tone import RATE

NOTES = {
    "ogg": ("audio/ogg", "-c:a libopus -b:a 20k -application voip -ar 16000 -f ogg"),
    "m4a": ("audio/mp4", "-c:a aac -b:a 32k -ar 16000 -f mp4"),
    "aac": ("audio/aac", "-c:a aac -b:a 32k -ar 16000 -f adts"),
    "mp3": ("audio/mpeg", "-c:a libmp3lame -b:a 48k -ar 44100 -f mp3"),
    "amr": ("audio/amr", "-c:a libopencore_amrnb -b:a 12.2k -ar 8000 -f amr"),
}
"""Formats that phones record: the media type that Twilio reports, and ffmpeg's options."""

_ENCODERS = {
    "opus": "-c:a libopus -frame_duration 20 -f ogg",
    "mp3": "-c:a libmp3lame -f mp3",
    "pcm": "-f s16le",
    "ulaw": "-f mulaw",
    "alaw": "-f alaw",
    "wav": "-f wav",
}


class Undecodable(ValueError):
    """ffmpeg cannot decode the bytes, or encode in this format."""


class Codec:
    """Converts PCM to audio files and back. Thread-safe.

    The last ``cache_size`` encoded files are cached, because tests use the same few sentences
    again and again.
    """

    def __init__(self, *, ffmpeg: str, cache_size: int = 256) -> None:
        self._ffmpeg = ffmpeg
        self._cache_size = cache_size
        self._lock = threading.Lock()
        self._encoded: OrderedDict[Hashable, Future[bytes]] = OrderedDict()

    def decode(self, audio: bytes) -> bytes:
        """Decode any container to 16 kHz mono s16le PCM; raises :class:`Undecodable`."""
        with tempfile.NamedTemporaryFile() as file:
            # A file, because ffmpeg must seek: the index of an MP4 may be at its end.
            file.write(audio)
            file.flush()
            options = f"-ac 1 -ar {RATE} -f s16le".split()
            return self._run("-protocol_whitelist", "file,pipe", "-i", file.name, *options, "-")

    def encode(self, sound: Sound, output_format: str) -> bytes:
        """``sound`` in an ElevenLabs ``output_format`` such as ``opus_48000_32``, mono."""
        name, rate, *bitrate = output_format.split("_")
        options = [*_ENCODERS[name].split(), "-ar", rate]
        if bitrate:
            options += ["-b:a", f"{bitrate[0]}k"]
        return self._encode(sound, *options)

    def note(self, pcm: bytes, kind: str = "ogg") -> bytes:
        """A voice note as a phone records it, from 16 kHz PCM; ``kind`` is a key of NOTES."""
        return self._encode(Sound(pcm, RATE), *NOTES[kind][1].split())

    def _encode(self, sound: Sound, *options: str) -> bytes:
        key = (hashlib.sha256(sound.pcm).digest(), sound.rate, options)
        return self._cached(key, lambda: self._convert(sound, *options))

    def _convert(self, sound: Sound, *options: str) -> bytes:
        source = ["-f", "s16le", "-ar", str(sound.rate), "-ac", "1", "-i", "pipe:0"]
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "audio")
            self._run(*source, "-ac", "1", *options, str(target), stdin=sound.pcm)
            return target.read_bytes()

    def _run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        command = [self._ffmpeg, "-v", "error", *arguments]
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            # Ctrl-C in a terminal must not reach ffmpeg: a conversion would fail.
            start_new_session=True,
        )
        if done.returncode != 0:
            raise Undecodable(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def _cached(self, key: Hashable, encode: Callable[[], bytes]) -> bytes:
        """The result of ``encode()``, which is called once per key even by parallel threads."""
        with self._lock:
            is_first = key not in self._encoded
            result = self._encoded.setdefault(key, Future())
            if len(self._encoded) > self._cache_size:
                self._encoded.popitem(last=False)
        if is_first:
            try:
                result.set_result(encode())
            except BaseException as error:
                self._encoded.pop(key, None)
                result.set_exception(error)
        return result.result()
