"""CPU time of the audio work in a voice turn: ``python -m bench.audio_costs``, half a minute.

It is the user and system time of this process and of ffmpeg. The minimum of several runs counts,
because other programs may use the machine. Each task is measured with its alternatives.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from functools import partial

import imageio_ffmpeg

from audio.ffmpeg import Ffmpeg
from audio.ffmpeg_arguments import SAMPLE_RATE
from audio.formats import OPUS
from audio.trimming import trim
from bench.table import Row, Table
from sandbox.speech import Sound
from sandbox.speech.codec import Codec
from sandbox.speech.tone import noise, silence

PIECE_FORMAT = "opus_48000_32"
RUNS = 20
# For long recordings.
FEW_RUNS = 3


def measure_audio_costs() -> Table:
    ffmpeg = Ffmpeg(max_seconds=300)
    codec = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())
    pieces = [codec.encode(Sound(noise(4.0), SAMPLE_RATE), PIECE_FORMAT) for _ in range(7)]
    padded = silence(2.0) + noise(1.0) + silence(2.0)
    rows = {"starting ffmpeg": _minimum(_start_ffmpeg)}
    for seconds, runs in ((5, RUNS), (7, RUNS), (300, FEW_RUNS)):
        note = codec.note(noise(float(seconds)))
        for name, decode in DECODERS.items():
            rows[f"decoding {seconds} s, {name}"] = _minimum(partial(decode, ffmpeg, note), runs)
    for count in (4, 7):
        label = f"joining {count} pieces of 4 s"
        rows[f"{label}, by pages"] = _minimum(partial(ffmpeg.join, pieces[:count]))
        rows[f"{label}, by ffmpeg"] = _minimum(partial(ffmpeg._concatenate, pieces[:count]))
    rows["trimming 5 s with silence around"] = _minimum(partial(trim, padded, max_seconds=300))
    return Table("CPU time", ("here ms", "ffmpeg ms"), rows)


def _start_ffmpeg() -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-version"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _decode(ffmpeg: Ffmpeg, note: bytes) -> None:
    ffmpeg.decode(note)


def _decode_stream(ffmpeg: Ffmpeg, note: bytes) -> None:
    stream = ffmpeg.open_stream()
    assert stream
    for at in range(0, len(note), 16_384):
        stream.write(note[at : at + 16_384])
    assert stream.pcm()
    stream.close()


def _decode_by_pipeline(ffmpeg: Ffmpeg, note: bytes) -> None:
    assert ffmpeg._decode_all(note, OPUS)


DECODERS: dict[str, Callable[[Ffmpeg, bytes], None]] = {
    "on one thread": _decode,
    "on one thread while it arrives": _decode_stream,
    "by ffmpeg's pipeline": _decode_by_pipeline,
}


def _minimum(work: Callable[[], object], runs: int = RUNS) -> Row:
    costs = [_measure(work) for _ in range(runs)]
    return min(own for own, _ in costs), min(children for _, children in costs)


def _measure(work: Callable[[], object]) -> Row:
    before = _cpu_milliseconds()
    work()
    own, children = (after - then for after, then in zip(_cpu_milliseconds(), before, strict=True))
    return own, children


def _cpu_milliseconds() -> Row:
    """Of this process, and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return tuple((usage.ru_utime + usage.ru_stime) * 1000 for usage in usages)


if __name__ == "__main__":
    print(measure_audio_costs())
