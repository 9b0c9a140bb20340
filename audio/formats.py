"""What kind of file audio comes in, by its bytes; names and types from outside can lie."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AudioFormat:
    """By ffmpeg's name for its demuxer, and for the decoders that it may lead to.

    ``seeks`` where a pipe won't do; ``streams`` where it can be decoded while it arrives.
    """

    demuxer: str
    decoders: str
    seeks: bool = False
    streams: bool = False


OPUS = AudioFormat("ogg", "opus", streams=True)
MP3 = AudioFormat("mp3", "mp3float,mp3")
# As many bytes as it takes to tell.
SNIFFED = 36
# A stream's first page is one packet alone (RFC 7845 §3).
_OPUS_HEAD = slice(28, SNIFFED)


def detect_format(data: bytes | bytearray) -> AudioFormat | None:
    """One of those that WhatsApp sends as audio (docs/providers/twilio.md, "Text and media")."""
    if data.startswith(b"OggS"):
        return OPUS if data[_OPUS_HEAD] == b"OpusHead" else AudioFormat("ogg", "opus,vorbis")
    if data.startswith(b"#!AMR"):
        return AudioFormat("amr", "amrnb,amrwb")
    if data[4:8] == b"ftyp":
        # Phones write the index behind the audio, out of a pipe's reach.
        return AudioFormat("mov", "aac,amrnb,amrwb,mp3float,mp3", seeks=True)
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        return AudioFormat("aac", "aac")
    if data.startswith(b"ID3") or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0):
        return MP3
    return None
