"""Arguments for ffmpeg, and the names of formats in its output.

Everything that ffmpeg would otherwise guess is given: demuxer, decoders, protocols and tracks.
"""

from __future__ import annotations

import re

from audio.formats import AudioFormat

# ElevenLabs' low-latency form: headerless 16-bit little-endian, 16 kHz, mono
# (docs/providers/elevenlabs.md, "Speech to text").
SAMPLE_RATE = 16_000
SAMPLE_WIDTH = 2

MP3_BITRATE = 64_000

COMMON = ["-nostdin", "-hide_banner", "-loglevel", "error"] + [
    *("-protocol_whitelist", "pipe,fd"),
    *("-threads", "1"),
]
# No pictures, subtitles, data or tags.
ONLY_AUDIO = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1"]
# The timestamps are replaced by counting samples. Those of the recording may stand still, and then
# ffmpeg would never reach the length at which it must stop.
MONO_16_KHZ = ["-af", "asetpts=N/SR/TB", "-ac", "1", "-ar", str(SAMPLE_RATE)]
OGG_OUTPUT = ["-f", "ogg", "pipe:1"]
# A pipe cannot be rewound to fill in a Xing header, and a constant bit rate needs none.
MP3_OUTPUT = [
    *("-c:a", "libmp3lame", "-b:a", str(MP3_BITRATE)),
    *("-write_xing", "0", "-f", "mp3", "pipe:1"),
]
# One thread for demuxer, decoder and resampler, which passes on a second of sound at a time. The
# default pipeline of ffmpeg wakes five threads every 20 ms (docs/decisions.md).
OPUS_STREAM_INPUT = [
    *("-f", "lavfi", "-i"),
    "amovie=pipe\\\\:0:format_name=ogg:stream_index=0:dec_threads=1"
    ":format_opts=protocol_whitelist=pipe\\\\:codec_whitelist=opus"
    f",aresample={SAMPLE_RATE},aformat=sample_fmts=s16:channel_layouts=mono"
    f",asetnsamples={SAMPLE_RATE}:pad=0",
    *("-c", "copy"),
]
OGG_PLAYLIST_INPUT = [
    *("-format_whitelist", "concat,ogg"),
    *("-f", "concat", "-safe", "0", "-i", "pipe:0"),
]
# ffmpeg guesses and prints the format, but opens nothing, because no format is allowed.
GUESS_FORMAT_ARGUMENTS = ["-loglevel", "debug", "-format_whitelist", "none", "-i", "pipe:0"]

_GUESSED_FORMAT = re.compile(r"Format ([\w,]{1,60}) probed with")
_REFUSED_CODEC = re.compile(r"Codec \((\w{1,30})\) not on whitelist")


def file_input(audio_format: AudioFormat) -> list[str]:
    """Read standard input, which is a file, as ``audio_format`` and as nothing else."""
    source = ["-fd", "0", "-i", "fd:"] if audio_format.seeks else ["-i", "pipe:0"]
    return ["-codec_whitelist", audio_format.decoders, "-f", audio_format.demuxer, *source]


def pcm_output(seconds: float) -> list[str]:
    """Write at most this much PCM."""
    return ["-t", str(seconds), "-f", "s16le", "pipe:1"]


def opus_encoder(bitrate: int) -> list[str]:
    return ["-c:a", "libopus", "-b:a", str(bitrate), "-application", "voip", *OGG_OUTPUT]


def guessed_format(stderr: str) -> str:
    """The format that ffmpeg printed, such as ``asf`` or ``png_pipe``."""
    found = _GUESSED_FORMAT.search(stderr)
    return found[1] if found else "unknown"


def refused_codecs(stderr: str) -> list[str]:
    """Codecs of the recording's tracks that are not allowed, without duplicates."""
    return list(dict.fromkeys(_REFUSED_CODEC.findall(stderr)))
