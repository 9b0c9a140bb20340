"""One run of a program in ffmpeg's place: its input and output, its limits, and its end."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import psutil
import pytest

from audio import ffmpeg_process as conversion
from audio.confinement import Launcher
from audio.ffmpeg import Ffmpeg, memory_file
from audio.ffmpeg_process import FfmpegProcess, FfmpegResult
from core.errors import AudioError, AudioUnreadable
from tests.unit.audio.test_frames import adts
from tests.unit.traces import NONE, traces

MEGABYTE = 1024 * 1024
PCM = (
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be"
    ",pcm_s8,pcm_u8,pcm_alaw,pcm_mulaw"
)
# Three frames, the fewest that count as a recording.
MP3 = (b"\xff\xfb\x14\xc4" + bytes(92)) * 3
ADTS = adts(bytes(10)) * 3
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    """No test leaves a descriptor or a child behind, not even a zombie."""
    before = traces()
    yield
    assert traces().beyond(before) == NONE


class Unconfined(Launcher):
    """Lets programs write files, from which tests learn what they did."""

    def _restrict(self) -> None:
        pass


LAUNCHER = Unconfined(sys.executable)


def started(command: Sequence[str], **options: Any) -> FfmpegProcess:
    chosen: dict[str, Any] = {
        "launcher": LAUNCHER,
        "max_output_bytes": MEGABYTE,
        "environment": os.environ,
    } | options
    return FfmpegProcess(command, **chosen)


def shell(script: str, **options: object) -> FfmpegProcess:
    return started(["/bin/sh", "-c", script], **options)


def python(program: str, **options: object) -> FfmpegProcess:
    return started([sys.executable, "-c", program], **options)


def finished(running: FfmpegProcess) -> FfmpegResult:
    with running:
        return running.result()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Ended, or orphaned and about to be reaped by init."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_exit_status_output_and_errors_are_returned() -> None:
    with memory_file([b"abc"]) as (source,):
        result = finished(shell("cat; echo 'not so good' >&2; exit 3", source=source))
    assert result == FfmpegResult(3, b"abc", "not so good")


@pytest.mark.parametrize("size", [0, 1, 65_536, 3 * MEGABYTE])
def test_all_that_is_written_reaches_the_program(size: int) -> None:
    """However large, and in whatever portions."""
    data = os.urandom(size)
    with shell("cat", max_output_bytes=4 * MEGABYTE) as running:
        for at in range(0, size, 100_000):
            running.write(data[at : at + 100_000])
        assert running.result().output == data


def test_writing_does_not_wait_for_the_program() -> None:
    with shell("exec sleep 600") as running:
        running.write(bytes(8 * MEGABYTE))


def test_input_is_dropped_once_the_program_closes_it() -> None:
    with shell("head -c 3; exec 0<&-; echo enough >&2") as running:
        running.write(b"abc")
        for _ in range(20):
            running.write(bytes(MEGABYTE))
        assert running.result() == FfmpegResult(0, b"abc", "enough")


def test_input_is_dropped_once_the_program_has_ended() -> None:
    with shell("exit 7") as running:
        until(lambda: psutil.Process(running.pid).status() == psutil.STATUS_ZOMBIE)
        for _ in range(3):
            running.write(bytes(MEGABYTE))
        assert running.result().code == 7


def test_more_errors_than_a_pipe_holds_do_not_block_the_program() -> None:
    """The last of them are kept."""
    script = "i=0; while [ $i -lt 30000 ]; do echo complaint $i >&2; i=$((i+1)); done; echo done"
    result = finished(shell(script))
    assert (result.code, result.output) == (0, b"done\n")
    assert result.stderr.endswith("complaint 29999")
    assert len(result.stderr) <= 4096


def test_a_program_that_writes_errors_without_end_is_ended() -> None:
    with pytest.raises(AudioUnreadable, match="without end"):
        finished(shell("while :; do echo complaint >&2; done"))


def test_reading_errors_takes_far_less_cpu_than_writing_them() -> None:
    """They are written a line at a time, and read many lines at a time."""
    before = os.times()
    script = "i=0; while [ $i -lt 200000 ]; do echo complaint >&2; i=$((i+1)); done"
    assert finished(shell(script, max_output_bytes=4 * MEGABYTE)).code == 0
    after = os.times()
    ours = after.user + after.system - before.user - before.system
    its = sum(after[2:4]) - sum(before[2:4])
    assert ours < its / 8


def test_killing_its_children_does_not_change_the_exit_status() -> None:
    """They are killed once the program itself has ended, and not before."""
    for script in ["exit 5"] * 20 + ["exec 2>&-; sleep 0.01; exit 5"] * 5:
        assert finished(shell(script)).code == 5


def test_closing_leaves_no_process_and_no_descriptor() -> None:
    before = traces()
    running = shell("exec sleep 600")
    assert len(traces().beyond(before).descriptors) == 3
    running.close()
    running.close()
    assert traces().beyond(before) == NONE


def test_a_program_that_hangs_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "TIMEOUT_SECONDS", 0.01)
    note = tmp_path / "child"
    with shell(f"sleep 600 & echo $! > {note}; wait") as running:
        until(lambda: note.exists() and note.read_text().endswith("\n"))
        with pytest.raises(AudioUnreadable, match="too long"):
            running.result()
    until(lambda: is_gone(int(note.read_text())))


def test_a_program_that_hangs_with_its_errors_closed_is_killed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "silent"
    with shell(f"exec 2>&-; echo > {note}; exec sleep 600") as running:
        until(note.exists)
        monkeypatch.setattr(conversion, "TIMEOUT_SECONDS", 0.05)
        assert running.result().code == -signal.SIGKILL


def test_a_child_that_hides_is_killed_too(tmp_path: Path) -> None:
    """It has closed all descriptors that it inherited, and its parent succeeds."""
    note = tmp_path / "child"
    script = f"sleep 600 <&- >&- 2>&- & echo $! > {note}; cat"
    assert finished(shell(script)).code == 0
    until(lambda: is_gone(int(note.read_text())))


def test_an_exception_ends_the_program() -> None:
    with pytest.raises(KeyboardInterrupt), shell("exec sleep 600") as running:
        pid = running.pid
        raise KeyboardInterrupt
    assert not psutil.pid_exists(pid)


def test_signals_to_our_process_group_do_not_reach_the_program() -> None:
    """Ctrl-C does not end the decoding of turns that are about to finish."""
    with shell("exec sleep 600") as running:
        assert os.getpgid(running.pid) != os.getpgid(0)
        assert os.getsid(running.pid) != os.getsid(0)


def test_output_is_limited() -> None:
    result = finished(shell("exec cat /dev/zero"))
    assert (result.code, len(result.output)) == (-signal.SIGXFSZ, MEGABYTE)


def test_cpu_time_is_limited() -> None:
    assert finished(shell("while :; do :; done", cpu_seconds=1)).code == -signal.SIGKILL


def test_memory_is_limited() -> None:
    program = f"import sys; sys.stdin.read(); bytearray({conversion.DATA_BYTES} + 1)"
    result = finished(python(program))
    assert result.code == 1
    assert result.stderr.endswith("MemoryError")


def test_open_files_are_limited() -> None:
    program = "import os, sys; sys.stdin.read(); [os.dup(0) for _ in range(100)]"
    assert "Too many open files" in finished(python(program)).stderr


def test_limits_that_are_lower_already_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raising them fails, and that is ignored."""
    calls: list[int] = []

    def refusing(process: int, limit: int, most: tuple[int, int]) -> None:
        calls.append(limit)
        raise PermissionError

    monkeypatch.setattr(resource, "prlimit", refusing)
    assert finished(shell("echo fine")).output == b"fine\n"
    assert len(calls) == 5


def test_a_missing_program_is_an_audio_error() -> None:
    with pytest.raises(AudioError, match="cannot be run"):
        started(["/nowhere/ffmpeg"])


def wrapper(folder: Path, script: str) -> str:
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("data", "forced"),
    [
        (b"OggS", "-codec_whitelist opus,vorbis,flac -f ogg -i pipe:0"),
        (MP3, "-codec_whitelist mp3float,mp3,mp2float,mp2 -f mp3 -i pipe:0"),
        (b"#!AMR", "-codec_whitelist amrnb,amrwb -f amr -i pipe:0"),
        (ADTS, "-codec_whitelist aac -f aac -i pipe:0"),
        (b"fLaC", "-codec_whitelist flac -f flac -i pipe:0"),
        (b"\x1aE\xdf\xa3", "-codec_whitelist opus,vorbis -f matroska -i pipe:0"),
        (b"RIFF\0\0\0\0WAVE", f"-codec_whitelist {PCM} -f wav -i pipe:0"),
        (b"caff", f"-codec_whitelist aac,alac,adpcm_ima_qt,opus,{PCM} -f caf -fd 0 -i fd:"),
        (
            b"\0\0\0 ftyp",
            "-codec_whitelist aac,alac,amrnb,amrwb,flac,mp3float,mp3,opus,"
            f"{PCM} -f mov -fd 0 -i fd:",
        ),
    ],
    ids=["ogg", "mp3", "amr", "aac", "flac", "matroska", "wav", "caf", "mov"],
)
def test_demuxer_and_decoders_are_forced(tmp_path: Path, data: bytes, forced: str) -> None:
    """Demuxer and decoders are those that the bytes call for, protocols those that are needed."""
    tell = wrapper(tmp_path, 'echo "$*" >&2; exit 1')
    with pytest.raises(AudioUnreadable) as caught:
        Ffmpeg(path=tell, max_seconds=1).decode(data)
    assert f" -protocol_whitelist pipe,fd -threads 1 {forced} " in str(caught.value)


def test_the_cpu_limit_of_decoding_follows_the_longest_recording(tmp_path: Path) -> None:
    spins = wrapper(tmp_path, "while :; do :; done")
    before = sum(os.times()[2:4])
    with pytest.raises(AudioUnreadable):
        Ffmpeg(path=spins, max_seconds=60).decode(b"#!AMR")
    assert sum(os.times()[2:4]) - before == pytest.approx(2, abs=0.5)


@pytest.mark.parametrize("whose", ["the wheel's", "an operator's"])
def test_ffmpeg_gets_no_secrets_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """An operator's ffmpeg gets the paths of programs and libraries."""
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "secret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    tell = wrapper(tmp_path, 'echo "$TWILIO_AUTH_TOKEN:$LD_LIBRARY_PATH" >&2; exit 1')
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: tell)
    own = whose == "an operator's"
    with pytest.raises(AudioUnreadable, match=r": :/somewhere$" if own else r": :$"):
        Ffmpeg(path=tell if own else "", max_seconds=1).decode(b"#!AMR")
