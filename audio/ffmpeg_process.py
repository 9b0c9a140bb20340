"""One run of ffmpeg: a process with limits of its own, fed by a pipe or a file, heard in memory."""

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

# The most that 5 minutes of sound take is 4 s of CPU, to encode them. A run may write to 72 MB,
# mostly stacks of its threads; more is an attack.
CPU_SECONDS = 10
DATA_BYTES = 256 * 1024 * 1024
OPEN_FILES = 64
TIMEOUT = 30.0
_KEPT_COMPLAINT = 4096
_EXIT_POLL = 0.0005
# One that complains of every frame is let fill its pipe, rather than heard out word by word.
_PIPE_BYTES = 64 * 1024
_COMPLAINT_PAUSE = 0.01


@dataclass(frozen=True)
class FfmpegResult:
    """What came of a run; ``code`` is negative where a signal ended it."""

    code: int
    output: bytes
    stderr: str


class FfmpegProcess:
    """A running ffmpeg. As a context manager it leaves no process, descriptor or file behind.

    It reads ``source``, or what it is fed. More than ``largest`` bytes of output, or of complaints,
    end it, and so do more than ``cpu_seconds``. Raises ``AudioError`` where it cannot be run.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        launcher: Launcher,
        largest: int,
        cpu_seconds: int = CPU_SECONDS,
        source: IO[bytes] | None = None,
        descriptors: Sequence[int] = (),
        environment: Mapping[str, str],
    ) -> None:
        self._largest = largest
        self._pending = bytearray()
        self._code: int | None = None
        # Open for as long as there may be more to feed.
        self._stdin: IO[bytes] | None = None
        with contextlib.ExitStack() as opened, contextlib.ExitStack() as theirs:
            self._output = opened.enter_context(_in_memory())
            self._stderr, stderr = _pipe()
            opened.enter_context(self._stderr)
            theirs.enter_context(stderr)
            if source is None:
                source, self._stdin = _pipe()
                opened.enter_context(self._stdin)
                theirs.enter_context(source)
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
        _limit(self.pid, largest, cpu_seconds)

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
        """Hand over what came in, without waiting for ffmpeg to take it."""
        if self._stdin:
            self._pending += data
            self._push(self._stdin)

    def result(self) -> FfmpegResult:
        """What it made of its input, once that is complete. Raises ``AudioUnreadable``."""
        deadline = time.monotonic() + TIMEOUT
        complaint = self._see_out(deadline)
        self._await_exit(deadline)
        code = self._end()
        self._output.seek(0)
        return FfmpegResult(
            code, self._output.read(self._largest), complaint.decode(errors="replace").strip()
        )

    def close(self) -> None:
        """End it, wherever it is."""
        self._end()
        self._hang_up()
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
            # It has heard enough, or has failed; its result says which.
            self._hang_up()

    def _hang_up(self) -> None:
        if self._stdin:
            self._stdin.close()
        self._stdin = None
        self._pending.clear()

    def _see_out(self, deadline: float) -> bytes:
        """Feed the rest and wait for the end, at which its standard error closes."""
        complaint, heard = b"", 0
        while (ready := self._ready(deadline)) and heard <= self._largest:
            if self._stderr.fileno() in ready:
                said = os.read(self._stderr.fileno(), _PIPE_BYTES)
                if not said:
                    return complaint
                heard += len(said)
                complaint = (complaint + said)[-_KEPT_COMPLAINT:]
                if heard > _KEPT_COMPLAINT:
                    time.sleep(_COMPLAINT_PAUSE)
            if self._stdin:
                self._push(self._stdin)
        raise AudioUnreadable(f"ffmpeg {'complains without end' if ready else 'took too long'}")

    def _ready(self, deadline: float) -> list[int]:
        """Which of its ends can be read or written to; none where the time is up."""
        poll = select.poll()
        poll.register(self._stderr, select.POLLIN)
        if not self._pending:
            self._hang_up()
        elif self._stdin:
            poll.register(self._stdin, select.POLLOUT)
        return [number for number, _ in poll.poll(max(deadline - time.monotonic(), 0) * 1000)]

    def _await_exit(self, deadline: float) -> None:
        """It follows at once. The dead keep their number until they are buried, in ``_end``."""
        how = os.WEXITED | os.WNOWAIT | os.WNOHANG
        while not os.waitid(os.P_PID, self.pid, how) and time.monotonic() < deadline:
            time.sleep(_EXIT_POLL)

    def _end(self) -> int:
        """Kill what is left of its group; its exit status, unless that is why it ended."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self._code = os.waitstatus_to_exitcode(status)
        return self._code


def _in_memory() -> IO[bytes]:
    return os.fdopen(os.memfd_create("audio"), "w+b", buffering=0)


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    """The end to read from, and the end to write to."""
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb", buffering=0), os.fdopen(writer, "wb", buffering=0)


def _limit(process: int, largest: int, cpu_seconds: int) -> None:
    """What it may take; set from outside, for forking with threads around allows no own code."""
    limits = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_DATA: DATA_BYTES,
        resource.RLIMIT_FSIZE: largest,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, most in limits.items():
        # It may have ended, or be under a tighter limit that only root could lift.
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(process, limit, (most, most))
