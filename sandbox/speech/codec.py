"""Audio formats, by ffmpeg: what ElevenLabs delivers, takes in, and what phones record."""

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
"""What a phone may record: the media type Twilio names, and how ffmpeg makes it."""

_ENCODERS = {
    "opus": "-c:a libopus -frame_duration 20 -f ogg",
    "mp3": "-c:a libmp3lame -f mp3",
    "pcm": "-f s16le",
    "ulaw": "-f mulaw",
    "alaw": "-f alaw",
    "wav": "-f wav",
}


class Undecodable(ValueError):
    """The bytes are no audio that ffmpeg knows."""


class Codec:
    """Turns PCM into files and back.

    What is encoded is kept, because tests say the same few sentences over and over.
    """

    def __init__(self, *, ffmpeg: str, kept: int = 256) -> None:
        self._ffmpeg = ffmpeg
        self._kept = kept
        self._lock = threading.Lock()
        self._encoded: OrderedDict[Hashable, Future[bytes]] = OrderedDict()

    def decode(self, audio: bytes) -> bytes:
        """``audio`` of any container as 16 kHz mono s16le PCM; raises :class:`Undecodable`."""
        with tempfile.NamedTemporaryFile() as file:
            # MP4 keeps its index at the end: ffmpeg must be able to seek.
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
        """A voice note of 16 kHz PCM, as a phone would record it; ``kind`` is one of NOTES."""
        return self._encode(Sound(pcm, RATE), *NOTES[kind][1].split())

    def _encode(self, sound: Sound, *options: str) -> bytes:
        key = (hashlib.sha256(sound.pcm).digest(), sound.rate, options)
        return self._once(key, lambda: self._convert(sound, *options))

    def _convert(self, sound: Sound, *options: str) -> bytes:
        source = ["-f", "s16le", "-ar", str(sound.rate), "-ac", "1", "-i", "pipe:0"]
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "audio")
            self._run(*source, "-ac", "1", *options, str(target), stdin=sound.pcm)
            return target.read_bytes()

    def _run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        command = [self._ffmpeg, "-v", "error", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
        if done.returncode != 0:
            raise Undecodable(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def _once(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """``make()``, run once for a key however many threads ask at the same time."""
        with self._lock:
            first = key not in self._encoded
            result = self._encoded.setdefault(key, Future())
            if len(self._encoded) > self._kept:
                self._encoded.popitem(last=False)
        if first:
            try:
                result.set_result(make())
            except BaseException as error:
                self._encoded.pop(key, None)
                result.set_exception(error)
        return result.result()
