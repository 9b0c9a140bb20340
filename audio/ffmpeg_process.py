"""One run of ffmpeg: a process with limits, which reads a pipe or a file and writes to memory."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO

from audio.confinement import Launcher
from core.errors import AudioError, AudioUnreadable

# Encoding five minutes of sound takes up to 4 s of CPU. A run on an ordinary recording writes to
# 72 MB of memory at most, mostly the stacks of its threads.
CPU_SECONDS = 10
DATA_BYTES = 256 * 1024 * 1024
OPEN_FILES = 64
TIMEOUT_SECONDS = 30.0
_MAX_STDERR_BYTES = 4096
_EXIT_POLL_SECONDS = 0.0005
# ffmpeg writes an error line for each broken frame. Waiting until the pipe is full takes less CPU
# than reading every line by itself.
_PIPE_BYTES = 64 * 1024
_STDERR_PAUSE_SECONDS = 0.01


@dataclass(frozen=True)
class FfmpegResult:
    """ffmpeg's exit code and output. ``code`` is negative if a signal ended ffmpeg."""

    code: int
    output: bytes
    stderr: str


class FfmpegProcess:
    """A running ffmpeg. As a context manager it leaves no process, descriptor or file behind.

    ffmpeg reads ``source`` or, if there is none, the input that ``write`` passes on. It is killed
    once it has written more than ``max_output_bytes``, to either output, or used more than
    ``cpu_seconds``. Raises ``AudioError`` if ffmpeg cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        launcher: Launcher,
        max_output_bytes: int,
        cpu_seconds: int = CPU_SECONDS,
        source: IO[bytes] | None = None,
        descriptors: Sequence[int] = (),
        environment: Mapping[str, str],
    ) -> None:
        self._max_output_bytes = max_output_bytes
        self._pending = bytearray()
        self._code: int | None = None
        # Open as long as more input may come.
        self._stdin: IO[bytes] | None = None
        with contextlib.ExitStack() as opened, contextlib.ExitStack() as child_ends:
            self._output = opened.enter_context(_memory_file())
            self._stderr, stderr = _pipe()
            opened.enter_context(self._stderr)
            child_ends.enter_context(stderr)
            if source is None:
                source, self._stdin = _pipe()
                opened.enter_context(self._stdin)
                child_ends.enter_context(source)
                os.set_blocking(self._stdin.fileno(), False)
            try:
                self.pid = launcher.start(
                    command,
                    standard=[source.fileno(), self._output.fileno(), stderr.fileno()],
                    inherited=descriptors,
                    environment=environment,
                )
            except OSError as error:
                raise AudioError(f"ffmpeg cannot be run: {error}") from error
            opened.pop_all()
        _limit(self.pid, max_output_bytes, cpu_seconds)

    def __enter__(self) -> FfmpegProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Pass on input, without waiting until ffmpeg reads it."""
        if self._stdin:
            self._pending += data
            self._push(self._stdin)

    def result(self) -> FfmpegResult:
        """Close the input, wait until ffmpeg ends, and return its output.

        Raises ``AudioUnreadable`` if that takes too long, or too many errors are written.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        errors = self._read_stderr(deadline)
        self._await_exit(deadline)
        code = self._kill()
        self._output.seek(0)
        return FfmpegResult(
            code, self._output.read(self._max_output_bytes), errors.decode(errors="replace").strip()
        )

    def close(self) -> None:
        """Kill ffmpeg if it still runs, and close all files."""
        self._kill()
        self._close_stdin()
        self._stderr.close()
        self._output.close()

    def _push(self, stdin: IO[bytes]) -> None:
        """Write as much as the pipe takes."""
        try:
            while self._pending:
                written = os.write(stdin.fileno(), self._pending)
                del self._pending[:written]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            # ffmpeg needs no more input, or has failed; its result says which.
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin:
            self._stdin.close()
        self._stdin = None
        self._pending.clear()

    def _read_stderr(self, deadline: float) -> bytes:
        """Read stderr until ffmpeg closes it; returns its end. Writes pending input meanwhile."""
        errors, total_bytes = b"", 0
        while (ready := self._ready(deadline)) and total_bytes <= self._max_output_bytes:
            if self._stderr.fileno() in ready:
                chunk = os.read(self._stderr.fileno(), _PIPE_BYTES)
                if not chunk:
                    return errors
                total_bytes += len(chunk)
                errors = (errors + chunk)[-_MAX_STDERR_BYTES:]
                if total_bytes > _MAX_STDERR_BYTES:
                    time.sleep(_STDERR_PAUSE_SECONDS)
            if self._stdin:
                self._push(self._stdin)
        raise AudioUnreadable(f"ffmpeg {'complains without end' if ready else 'took too long'}")

    def _ready(self, deadline: float) -> list[int]:
        """The descriptors that can be read or written now; none if the time is up."""
        poll = select.poll()
        poll.register(self._stderr, select.POLLIN)
        if not self._pending:
            self._close_stdin()
        elif self._stdin:
            poll.register(self._stdin, select.POLLOUT)
        return [number for number, _ in poll.poll(max(deadline - time.monotonic(), 0) * 1000)]

    def _await_exit(self, deadline: float) -> None:
        """Wait without reaping, so that the PID cannot be reused before ``killpg``."""
        how = os.WEXITED | os.WNOWAIT | os.WNOHANG
        while not os.waitid(os.P_PID, self.pid, how) and time.monotonic() < deadline:
            time.sleep(_EXIT_POLL_SECONDS)

    def _kill(self) -> int:
        """Kill ffmpeg and its children; returns the exit code of ffmpeg.

        If ffmpeg has ended by itself, that is the code with which it ended.
        """
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self._code = os.waitstatus_to_exitcode(status)
        return self._code


def _memory_file() -> IO[bytes]:
    return os.fdopen(os.memfd_create("audio"), "w+b", buffering=0)


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    """The reading and the writing end of a new pipe."""
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb", buffering=0), os.fdopen(writer, "wb", buffering=0)


def _limit(process: int, max_output_bytes: int, cpu_seconds: int) -> None:
    """Limit the resources of ``process``.

    They are set from outside: in a process with threads, no Python code may run between fork and
    exec.
    """
    limits = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_DATA: DATA_BYTES,
        resource.RLIMIT_FSIZE: max_output_bytes,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        # The process may have ended, or have a tighter limit, which only root could raise.
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(process, limit, (value, value))
