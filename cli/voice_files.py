"""Reads a recording so that it fits into the form of a webhook."""

from __future__ import annotations

import base64
from pathlib import Path

from audio.ffmpeg import Ffmpeg
from audio.formats import OPUS, detect_format
from core.errors import AudioError, AudioTooLong
from media import INLINE, MAX_BYTES

# Encoded for a form it takes some 40 % more; with the other fields it must fit into the 64 KB of
# web/request_limits.py. That is about 40 s of speech at the lowest bit rate.
NOTE_BYTES = 44 * 1024
BITRATE = 24_000
# Only a limit for ffmpeg: what does not fit into the form is refused later.
MAX_SECONDS = 600.0


def voice_note_address(file: Path) -> str:
    """The recording as an address that holds it, converted to Ogg/Opus if it is not.

    Raises ``ValueError`` with a sentence if it cannot be sent.
    """
    try:
        size = file.stat().st_size
        data = file.read_bytes() if 0 < size <= MAX_BYTES else b""
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}.") from None
    if not data:
        raise ValueError(f"{file} is {'larger than 16 MB' if size else 'empty'}.")
    try:
        note = _fit(data)
    except AudioTooLong:
        raise ValueError(f"{file} is too long: a test message takes some 40 s of speech.") from None
    except AudioError as error:
        raise ValueError(f"{file} is no recording that ffmpeg can read ({error}).") from None
    return INLINE + base64.b64encode(note).decode()


def _fit(data: bytes) -> bytes:
    """The recording as Ogg/Opus of at most ``NOTE_BYTES``."""
    is_note = detect_format(data) is OPUS
    if is_note and len(data) <= NOTE_BYTES:
        return data
    ffmpeg = Ffmpeg(max_seconds=MAX_SECONDS)
    return ffmpeg.fit_note(data if is_note else ffmpeg.encode_note(data, BITRATE), NOTE_BYTES)
