"""What the audio of a voice turn costs: ``python -m bench.audio_costs``, half a minute.

CPU time, user and system, of this process and of ffmpeg: the least of several runs, because
machines are shared. Beside each is the way it could be done as well.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from functools import partial

import imageio_ffmpeg

from audio.ffmpeg import Ffmpeg, trim
from audio.ffmpeg_arguments import SAMPLE_RATE
from audio.formats import OPUS
from bench.table import Row, Table
from sandbox.speech import Sound
from sandbox.speech.codec import Codec
from sandbox.speech.tone import noise, silence

PIECE = "opus_48000_32"
TIMES = 20
FEW_TIMES = 3


def costs() -> Table:
    ffmpeg = Ffmpeg(longest_seconds=300)
    codec = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())
    pieces = [codec.encode(Sound(noise(4.0), SAMPLE_RATE), PIECE) for _ in range(7)]
    spoken = silence(2.0) + noise(1.0) + silence(2.0)
    rows = {"starting ffmpeg": _least(_started)}
    for seconds, times in ((5, TIMES), (7, TIMES), (300, FEW_TIMES)):
        note = codec.note(noise(float(seconds)))
        for name, decode in DECODERS.items():
            rows[f"decoding {seconds} s, {name}"] = _least(partial(decode, ffmpeg, note), times)
    for count in (4, 7):
        label = f"joining {count} pieces of 4 s"
        rows[f"{label}, by pages"] = _least(partial(ffmpeg.join, pieces[:count]))
        rows[f"{label}, by ffmpeg"] = _least(partial(ffmpeg._concatenate, pieces[:count]))
    rows["trimming 5 s with silence around"] = _least(partial(trim, spoken, longest_seconds=300))
    return Table("CPU time", ("here ms", "ffmpeg ms"), rows)


def _started() -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-version"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _whole(ffmpeg: Ffmpeg, note: bytes) -> None:
    ffmpeg.decode(note)


def _while_it_arrives(ffmpeg: Ffmpeg, note: bytes) -> None:
    stream = ffmpeg.open_stream()
    assert stream
    for at in range(0, len(note), 16_384):
        stream.write(note[at : at + 16_384])
    assert stream.pcm()
    stream.close()


def _by_pipeline(ffmpeg: Ffmpeg, note: bytes) -> None:
    assert ffmpeg._decode_all(note, OPUS)


DECODERS: dict[str, Callable[[Ffmpeg, bytes], None]] = {
    "on one thread": _whole,
    "on one thread while it arrives": _while_it_arrives,
    "by ffmpeg's pipeline": _by_pipeline,
}


def _least(work: Callable[[], object], times: int = TIMES) -> Row:
    runs = [_cost(work) for _ in range(times)]
    return min(here for here, _ in runs), min(there for _, there in runs)


def _cost(work: Callable[[], object]) -> Row:
    before = _spent()
    work()
    here, there = (after - then for after, then in zip(_spent(), before, strict=True))
    return here, there


def _spent() -> Row:
    """Milliseconds, of this process and of the children that ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return tuple((usage.ru_utime + usage.ru_stime) * 1000 for usage in usages)


if __name__ == "__main__":
    print(costs())
