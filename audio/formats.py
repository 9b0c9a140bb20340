"""Detects the format of a recording from its bytes: media types and file names may be wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from audio.mpeg_frames import begins_adts, begins_mpeg_audio, end_of_zeros, find_syncs


@dataclass(frozen=True)
class AudioFormat:
    """ffmpeg's names for the demuxer to use, and for the decoders that may be used after it.

    ``seeks``: the demuxer cannot read from a pipe. ``streams``: the recording can be decoded while
    it is downloaded.
    """

    demuxer: str
    decoders: str
    seeks: bool = False
    streams: bool = False


@dataclass(frozen=True)
class FoundRecording:
    """A recording within a file: it begins ``start`` bytes after the file's beginning.

    ``behind_foreign_bytes``: the bytes before it are neither a tag nor zeros. Then the file may
    have another format that contains such a stream, such as a video.
    """

    audio_format: AudioFormat
    start: int
    behind_foreign_bytes: bool = False


_PCM = (
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be"
    ",pcm_s8,pcm_u8,pcm_alaw,pcm_mulaw"
)

OPUS = AudioFormat("ogg", "opus", streams=True)
MP3 = AudioFormat("mp3", "mp3float,mp3,mp2float,mp2")
_OGG = AudioFormat("ogg", "opus,vorbis,flac")
_AAC = AudioFormat("aac", "aac")
_AMR = AudioFormat("amr", "amrnb,amrwb")
_FLAC = AudioFormat("flac", "flac")
_WAV = AudioFormat("wav", _PCM)
_WEBM = AudioFormat("matroska", "opus,vorbis")
# The index of these may follow the sound, so the demuxer must seek, which a pipe does not allow.
_MP4 = AudioFormat("mov", f"aac,alac,amrnb,amrwb,flac,mp3float,mp3,opus,{_PCM}", seeks=True)
_CAF = AudioFormat("caf", f"aac,alac,adpcm_ima_qt,opus,{_PCM}", seeks=True)

_SIGNATURES = {b"#!AMR": _AMR, b"fLaC": _FLAC, b"caff": _CAF, b"\x1a\x45\xdf\xa3": _WEBM}
# The first box need not be "ftyp": some recorders write the sound first.
_MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"})

# As many bytes as ``detect_format`` needs to tell Ogg/Opus from everything else.
SNIFFED = 36
# The first page of Ogg/Opus holds this packet alone (RFC 7845 §3).
_OPUS_HEAD = slice(28, SNIFFED)

_ID3_HEADER_BYTES = 10
# Some files have two tags. The limit is for hostile files with thousands of them.
_MAX_ID3_TAGS = 8

_FRAME_DETECTORS: tuple[tuple[AudioFormat, Callable[[bytes | bytearray, int], bool]], ...] = (
    (_AAC, begins_adts),
    (MP3, begins_mpeg_audio),
)


def detect_format(data: bytes | bytearray) -> AudioFormat | None:
    """The format of the recording in ``data``; ``None`` if it is not supported."""
    found = find_recording(data)
    return found.audio_format if found else None


def find_recording(data: bytes | bytearray) -> FoundRecording | None:
    """The recording in ``data``; ``None`` if its format is not supported.

    ID3 tags, zeros, and foreign bytes up to the length of a frame may precede the recording.
    """
    start = _end_of_tags(data)
    signed = _detect_by_signature(data, start)
    if signed:
        return FoundRecording(signed, start)
    return _detect_by_frames(data, end_of_zeros(data, start))


def _end_of_tags(data: bytes | bytearray) -> int:
    """The offset after the ID3v2 tags at the beginning; a tag of a wrong size is not skipped."""
    at = 0
    for _ in range(_MAX_ID3_TAGS):
        if data[at : at + 3] != b"ID3" or at + _ID3_HEADER_BYTES > len(data):
            break
        flags, *sevens = data[at + 5 : at + _ID3_HEADER_BYTES]
        size = sum(seven << shift for seven, shift in zip(sevens, (21, 14, 7, 0), strict=True))
        footer = _ID3_HEADER_BYTES if flags & 0x10 else 0
        end = at + _ID3_HEADER_BYTES + size + footer
        if end > len(data):
            break
        at = end
    return at


def _detect_by_signature(data: bytes | bytearray, at: int) -> AudioFormat | None:
    head = bytes(data[at : at + SNIFFED])
    if head.startswith(b"OggS"):
        return OPUS if head[_OPUS_HEAD] == b"OpusHead" else _OGG
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return _WAV
    if head[4:8] in _MP4_BOXES:
        return _MP4
    return next((each for magic, each in _SIGNATURES.items() if head.startswith(magic)), None)


def _detect_by_frames(data: bytes | bytearray, start: int) -> FoundRecording | None:
    for at in find_syncs(data, start):
        for audio_format, begins in _FRAME_DETECTORS:
            if begins(data, at):
                return FoundRecording(audio_format, at, behind_foreign_bytes=at > start)
    return None
