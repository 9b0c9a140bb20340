"""Confined programs can open nothing, while the rest of the process can."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import landlockpy
import pytest
from structlog.testing import capture_logs

from audio import confinement
from audio.confinement import Launcher
from audio.ffmpeg import memory_file
from audio.ffmpeg_process import FfmpegProcess

needs_landlock = pytest.mark.skipif(not landlockpy.supported(), reason="no Landlock here")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_text("read")
    return file


def output(launcher: Launcher, *command: str, source: IO[bytes] | None = None) -> bytes:
    """All that a program says."""
    with FfmpegProcess(
        command, launcher=launcher, max_output_bytes=1_000_000, source=source, environment={}
    ) as running:
        result = running.result()
    return result.output + result.stderr.encode()


@needs_landlock
def test_a_confined_program_opens_nothing(file: Path) -> None:
    assert b"Permission denied" in output(Launcher("cat"), "cat", str(file))


@needs_landlock
def test_children_of_a_confined_program_open_nothing_either(file: Path) -> None:
    assert b"Permission denied" in output(Launcher("sh"), "sh", "-c", f"sh -c 'cat {file}; true'")


@needs_landlock
def test_the_rest_of_the_process_is_not_restricted(file: Path) -> None:
    """Threads that there were, threads that begin later, and what they start."""

    def everything() -> bytes:
        file.write_text("read")
        return subprocess.run(["cat", file], capture_output=True, check=True).stdout

    with ThreadPoolExecutor(1) as earlier:
        earlier.submit(everything).result()
        launcher = Launcher("cat")
        assert b"Permission denied" in output(launcher, "cat", str(file))
        assert everything() == b"read"
        assert earlier.submit(everything).result() == b"read"
    with ThreadPoolExecutor(1) as later:
        assert later.submit(everything).result() == b"read"


def test_a_confined_program_can_use_inherited_descriptors() -> None:
    with memory_file([b"abc"]) as (source,):
        assert output(Launcher("cat"), "cat", source=source) == b"abc"


def test_many_can_be_started_at_once() -> None:
    launcher = Launcher("echo")
    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(lambda number: output(launcher, "echo", str(number)), range(64)))
    assert said == [b"%d\n" % number for number in range(64)]


def test_a_missing_program_is_told_as_ever() -> None:
    with pytest.raises(FileNotFoundError):
        Launcher("/nowhere/ffmpeg").start(["/nowhere/ffmpeg"], standard=[0, 1, 2], environment={})


def test_a_program_finds_its_own_libraries(file: Path) -> None:
    launcher = Launcher("cat", libraries=["", "/nowhere", str(file.parent)])
    assert output(launcher, "cat", str(file)) == b"read"


def test_without_landlock_programs_run_and_one_warning_is_logged(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(**_: object) -> None:
        raise landlockpy.UnsupportedError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(confinement, "Ruleset", none)
    with capture_logs() as logged:
        launcher = Launcher("cat")
        assert output(launcher, "cat", str(file)) == b"read"
        assert output(launcher, "cat", str(file)) == b"read"
    assert [entry["log_level"] for entry in logged] == ["warning"]
    assert "not confined" in logged[0]["event"]


def test_a_green_thread_is_never_restricted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel thread is the main one, so all of the service would be restricted."""
    monkeypatch.setattr(threading, "get_native_id", os.getpid)
    with pytest.raises(RuntimeError, match="thread"):
        Launcher("cat")
