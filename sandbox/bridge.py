"""Runs the bridge in separate processes, with the commands of the Procfile."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil
import requests

from sandbox.service import Service

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
# A little more than gunicorn.conf.py's graceful_timeout.
STOP_SECONDS = 35.0
POLL_SECONDS = 0.05
# A forked child has called exec by then, even on a busy machine.
EXEC_SECONDS = 1.0
# A worker logs this when it is ready to run turns.
WORKER_READY = "Worker ready"

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# A variable assignment before the program, as in a shell.
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")

# $@ is the command, which replaces this shell. A subshell in the same process group waits in the
# background for the end of the standard input: it comes when our process has ended, even by
# SIGKILL. A bridge that outlived its demo would call the stand-ins of the next one.
_START_SCRIPT = """
exec 3<&0
( (read -r _ <&3; kill -s KILL -- -$$) & )
exec "$@" 3<&- </dev/null
"""

# Other variables of this shell must not reach the bridge, which gets its settings explicitly.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


class BridgeDied(RuntimeError):
    """A process ended or was not ready in time; the message is the end of its log."""


@contextlib.contextmanager
def _signals_postponed() -> Iterator[None]:
    """Handle the signals that stop a program after the block, in which a process is started.

    A handler that raises in the block would leave a process that nobody knows. Only the main thread
    handles signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda signalled, _: came.append(signalled))
        for number in STOP_SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for signalled in came:
        signal.raise_signal(signalled)


class RunningBridge(Protocol):
    """A bridge of one or several processes."""

    @property
    def url(self) -> str: ...

    def log(self) -> str: ...


class Process(Service):
    """A process of the Procfile and its children, in one process group.

    They are killed when the process that has started them ends.

    ``settings`` are environment variables and may be changed until the process starts. ``command``
    is by default the Procfile's line for ``kind``. Use it as a context manager, or call ``start``
    and ``stop``.
    """

    kind = ""

    def __init__(
        self,
        *,
        log_file: Path,
        settings: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.settings = dict(settings or {})
        self.state_dir = log_file.with_suffix(".state")
        self._command = list(command or procfile_command(self.kind))
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()

    @property
    def pid(self) -> int:
        """The PID of the group's first process. Raises ``RuntimeError`` if it was not started."""
        if self._process is None:
            raise RuntimeError(f"the {self.kind} process is not running")
        return self._process.pid

    def start(self) -> None:
        """Return when it is ready; does nothing if it runs. Raises ``BridgeDied``.

        Two threads may call it at once: the second waits for what the first has started.
        """
        with self._starting:
            if self.is_running():
                return
            # If it was killed by somebody else, its children may still run.
            self.kill()
            self._start()

    def _start(self) -> None:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        defaults = {"PYTHONUNBUFFERED": "1", "STATE_DIR": str(self.state_dir)}
        if os.geteuid() != 0:
            # Without root, memory and sockets can be read of dumpable processes only.
            defaults["DUMPABLE"] = "true"
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log, _signals_postponed():
            logged_before = log.tell()
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _START_SCRIPT, "sh", *self._command],
                cwd=ROOT,
                env=inherited | defaults | self.settings,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal must not reach this process: ``stop`` ends it in order.
                start_new_session=True,
            )
        self._wait_until_ready(self._process, logged_before)

    def stop(self) -> int:
        """Terminate it and wait; returns its exit code, which is negative if a signal ended it."""
        if self._process is None:
            return 0
        self.resume()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        return self._end(self._process)

    def kill(self) -> None:
        """Kill it and its children at once, as the kernel does when memory runs out."""
        if self._process is not None:
            self._end(self._process)

    def has_ended(self) -> bool:
        """Whether its first process has ended by itself since the start."""
        return self._process is not None and self._process.poll() is not None

    def is_running(self) -> bool:
        """Whether its first process was started and has not ended; it may not be ready yet."""
        process = self._process
        return process is not None and process.poll() is None

    def is_starting(self) -> bool:
        """Whether somebody waits in ``start`` until it is ready."""
        return self._starting.locked()

    def pause(self) -> None:
        """Stop it and its children from running, as if the machine were swapping."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after ``pause``."""
        self._signal(signal.SIGCONT)

    def resident_memory(self) -> int:
        """Proportional set size (PSS) of it and its children, in bytes.

        A page that several processes share, such as ffmpeg's code, is counted once in total.
        """
        return self._sum(self._proportional_set_size)

    def threads(self) -> int:
        """Number of threads of it and its children."""
        return self._sum(lambda process: int(process.num_threads()))

    def has_connection_from(self, port: int | None) -> bool:
        """Whether it or a child has a connection with this local port."""
        return self._sum(lambda process: sum(port == each for each in _local_ports(process))) > 0

    def descriptors(self) -> int:
        """Number of open file descriptors of it and its children."""
        return self._sum(lambda process: int(process.num_fds()))

    def sockets(self) -> int:
        """Number of open sockets of it and its children."""
        return self._sum(lambda process: len(process.net_connections("all")))

    def log(self) -> str:
        """Everything it has logged, including earlier starts."""
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def _is_ready(self, logged: str) -> bool:
        """Whether it is ready for work; ``logged`` is its log since the start."""
        raise NotImplementedError

    def _wait_until_ready(self, process: subprocess.Popen[bytes], logged_before: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise BridgeDied("\n".join(self.log().splitlines()[-20:]))
            logged = self._log_file.read_bytes()[logged_before:]
            if self._is_ready(logged.decode("utf-8", "replace")):
                return
            time.sleep(POLL_SECONDS)
        self.stop()
        raise BridgeDied(f"The {self.kind} process was not ready within {START_SECONDS:.0f} s")

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        """Kill what is left of the group; returns the exit status of its first process."""
        self._signal(signal.SIGKILL)
        status = process.wait()
        if process.stdin:
            process.stdin.close()
        self._process = None
        return status

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _proportional_set_size(self, process: psutil.Process) -> int:
        """0 for a child between fork and exec, which still shares all memory with its parent."""
        is_new = time.time() - process.create_time() < EXEC_SECONDS
        parent = process.parent() if is_new and process.pid != self.pid else None
        if parent and parent.exe() == process.exe():
            return 0
        return int(process.memory_full_info().pss)

    def _sum(self, measure: Callable[[psutil.Process], int]) -> int:
        first = psutil.Process(self.pid)
        total = 0
        for process in (first, *first.children(recursive=True)):
            # A child, such as ffmpeg, may have ended meanwhile.
            with contextlib.suppress(psutil.NoSuchProcess):
                total += measure(process)
        return total


class Bridge(Process):
    """One web process on a loopback port, ready when ``GET /`` answers."""

    kind = "web"

    def __init__(
        self,
        *,
        log_file: Path,
        settings: Mapping[str, str] | None = None,
        port: int = 0,
        command: Sequence[str] | None = None,
    ) -> None:
        super().__init__(log_file=log_file, settings=settings, command=command)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command += ["--bind", f"127.0.0.1:{self.port}"]

    def _is_ready(self, logged: str) -> bool:
        with requests.Session() as session:
            session.trust_env = False
            try:
                return session.get(self.url, timeout=POLL_SECONDS * 20).ok
            except requests.RequestException:
                return False


class Worker(Process):
    """One worker process, ready when it has logged ``WORKER_READY``."""

    kind = "worker"

    def _is_ready(self, logged: str) -> bool:
        return WORKER_READY in logged


def _local_ports(process: psutil.Process) -> list[int]:
    return [connection.laddr.port for connection in process.net_connections("tcp")]


def procfile_command(kind: str) -> list[str]:
    """The Procfile's line for ``kind``, changed to run in the environment of this Python.

    Raises ``RuntimeError`` if there is no such line.
    """
    for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines():
        name, _, command = line.partition(":")
        if name == kind:
            env, program, arguments = _split_command(command)
            module = [] if program == "python" else ["-m", program]
            return [*env, sys.executable, *module, *arguments]
    raise RuntimeError(f"the Procfile has no {kind} process")


def _split_command(command: str) -> tuple[list[str], str, list[str]]:
    """An ``env`` command for leading assignments (empty if none), the program, its arguments."""
    words = shlex.split(command)
    assignments = list(itertools.takewhile(ASSIGNMENT.match, words))
    program, *arguments = words[len(assignments) :]
    return ["env", *assignments] if assignments else [], program, arguments


def free_port() -> int:
    """A loopback port that is not in use.

    It is below the ephemeral ports (32768 and up by default), so that no outgoing connection can
    take it before the caller listens.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
