"""The bridge as processes of its own, started as the Procfile says."""

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
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import requests

from sandbox.service import Service

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
# A little more than gunicorn.conf.py's graceful_timeout.
STOP_SECONDS = 35.0
POLL_SECONDS = 0.05
# How soon a child that was started runs its own program, on a busy machine.
BEGIN_SECONDS = 1.0
# What a worker logs once it takes turns.
WORKER_READY = "Worker ready"

# As a shell takes it before the name of a program.
VARIABLE = re.compile(r"[A-Za-z_]\w*=")

# Settings of this shell must not reach a bridge that is to run on the sandbox's alone.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


class BridgeDied(RuntimeError):
    """A process ended instead of starting; the message holds the end of its log."""


class Process(Service):
    """One process of the Procfile, with its children in one process group.

    ``settings`` are its environment, to be set before it starts; ``command`` is what to run, by
    default the line of its ``kind``. Use it as a context manager, or ``start`` and ``stop`` it.
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

    @property
    def pid(self) -> int:
        """Of the first process of the group. Raises ``RuntimeError`` before it is started."""
        if self._process is None:
            raise RuntimeError(f"the {self.kind} process is not running")
        return self._process.pid

    def start(self) -> None:
        """Return once it is ready. Raises ``BridgeDied``."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        own = {"PYTHONUNBUFFERED": "1", "STATE_DIR": str(self.state_dir)}
        if os.geteuid() != 0:
            # Only root may look into the others, and what they take is measured.
            own["DUMPABLE"] = "true"
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log:
            logged_before = log.tell()
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=inherited | own | self.settings,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal is for whoever started us; we are stopped in our turn.
                start_new_session=True,
            )
        self._wait_until_ready(self._process, logged_before)

    def stop(self) -> int:
        """Ask it to finish and wait; returns its exit code, negative where a signal ended it."""
        if self._process is None:
            return 0
        self.resume()
        self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            return self._process.wait()
        finally:
            self._process = None

    def kill(self) -> None:
        """Kill it at once, as the kernel would for want of memory."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def has_ended(self) -> bool:
        """Whether its first process ended by itself since it was started."""
        return self._process is not None and self._process.poll() is not None

    def pause(self) -> None:
        """Freeze it with its children, as a machine that swaps would."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on after ``pause``."""
        self._signal(signal.SIGCONT)

    def resident_memory(self) -> int:
        """Bytes in memory of it and its children; of a page that processes share, each has a part.

        So a machine counts them too, once: ffmpeg's program is the same page for all of them.
        """
        return self._sum(self._memory)

    def threads(self) -> int:
        """How many threads it and its children have."""
        return self._sum(lambda process: int(process.num_threads()))

    def calls_from(self, port: int | None) -> bool:
        """Whether it, or a child, has a connection that comes from this local port."""
        return self._sum(lambda process: sum(port == each for each in _local_ports(process))) > 0

    def descriptors(self) -> int:
        """How many files and sockets it and its children have open."""
        return self._sum(lambda process: int(process.num_fds()))

    def sockets(self) -> int:
        """How many of them are sockets."""
        return self._sum(lambda process: len(process.net_connections("all")))

    def log(self) -> str:
        """Everything it has logged, earlier starts included."""
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def _is_ready(self, logged: str) -> bool:
        """Whether it does its work; ``logged`` is what it logged since it was started."""
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

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _memory(self, process: psutil.Process) -> int:
        """None of a child that has not begun its program: until then its memory is its parent's."""
        is_new = time.time() - process.create_time() < BEGIN_SECONDS
        parent = process.parent() if is_new and process.pid != self.pid else None
        if parent and parent.exe() == process.exe():
            return 0
        return int(process.memory_full_info().pss)

    def _sum(self, figure: Callable[[psutil.Process], int]) -> int:
        first = psutil.Process(self.pid)
        total = 0
        for process in (first, *first.children(recursive=True)):
            # An ffmpeg that ended meanwhile.
            with contextlib.suppress(psutil.NoSuchProcess):
                total += figure(process)
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
    """One worker process, ready when it has logged ``Worker ready``."""

    kind = "worker"

    def _is_ready(self, logged: str) -> bool:
        return WORKER_READY in logged


def _local_ports(process: psutil.Process) -> list[int]:
    return [each.laddr.port for each in process.net_connections("tcp")]


def procfile_command(kind: str) -> list[str]:
    """The Procfile's line of ``kind``, run by this Python and its environment.

    Raises ``RuntimeError`` where there is none.
    """
    for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines():
        name, _, command = line.partition(":")
        if name == kind:
            own, program, arguments = _split(command)
            module = [] if program == "python" else ["-m", program]
            return [*own, sys.executable, *module, *arguments]
    raise RuntimeError(f"the Procfile has no {kind} process")


def _split(command: str) -> tuple[list[str], str, list[str]]:
    """What sets the variables before the program's name, the program, and its arguments."""
    words = shlex.split(command)
    own = list(itertools.takewhile(VARIABLE.match, words))
    program, *arguments = words[len(own) :]
    return ["env", *own] if own else [], program, arguments


def free_port() -> int:
    """A loopback port that nobody uses at the moment.

    Not one of those that the system takes for outgoing connections (from 32768 on, by default):
    one of them might have it before whoever asked listens.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
