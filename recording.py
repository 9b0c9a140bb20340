"""What a sender said: a recording converted while it is downloaded, then judged and trimmed."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass

from audio import Ffmpeg, Stream, trim
from container import SNIFFED, sniff
from errors import AudioTooLong
from frames import outlast
from media import Media


@dataclass(frozen=True)
class Recording:
    """``pcm`` as ``audio.trim`` returns it; times in seconds.

    ``convert_time`` is what converting took beyond the download.
    """

    pcm: bytes
    download_time: float
    convert_time: float


class Recorder:
    """Fetches the recordings that Twilio announces."""

    def __init__(self, *, media: Media, ffmpeg: Ffmpeg, longest_seconds: float) -> None:
        self._media = media
        self._ffmpeg = ffmpeg
        self._longest = longest_seconds

    def hear(self, url: str) -> Recording:
        """The recording at ``MediaUrl0``. Raises ``MediaError`` or ``AudioError``."""
        started = time.monotonic()
        with closing(_Listener(self._ffmpeg)) as listener:
            data = self._media.download(url, listener)
            downloaded = time.monotonic()
            # By the headers alone; ``trim`` judges what is played.
            if outlast(data, self._longest + 1):
                raise AudioTooLong
            pcm = listener.pcm()
        pcm = pcm or self._ffmpeg.decode(data)
        del data
        speech = trim(pcm, longest_seconds=self._longest)
        return Recording(speech, downloaded - started, time.monotonic() - downloaded)


class _Listener:
    """Decodes what arrives, if it is Ogg/Opus and there is a decoder; else does nothing."""

    def __init__(self, ffmpeg: Ffmpeg) -> None:
        self._ffmpeg = ffmpeg
        self._stream: Stream | None = None
        self._head = b""

    def begin(self) -> None:
        """The decoder starts while the CDN is being asked."""
        self.close()
        self._head = b""
        self._stream = self._ffmpeg.open_stream()

    def write(self, chunk: bytes) -> None:
        if not self._stream:
            return
        if len(self._head) < SNIFFED:
            # Nothing is decoded as what it is not.
            self._head += chunk
            chunk = self._head
            if len(chunk) < SNIFFED:
                return
            container = sniff(chunk)
            if not container or not container.streams:
                self.close()
                return
        self._stream.feed(chunk)

    def pcm(self) -> bytes | None:
        return self._stream.pcm() if self._stream else None

    def close(self) -> None:
        if self._stream:
            self._stream.close()
        self._stream = None
