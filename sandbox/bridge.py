"""The bridge as its own process, started as the Procfile says."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
# A little more than gunicorn.conf.py's graceful_timeout.
STOP_SECONDS = 35.0
POLL_SECONDS = 0.05

# Settings of this shell must not reach a bridge that is to run on the sandbox's alone.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


class BridgeDied(RuntimeError):
    """The bridge ended instead of starting; the message holds the end of its log."""


class Bridge:
    """One web process on a loopback port, logging to ``log_file``.

    ``settings`` are its environment, to be set before it starts. Use it as a context manager, or
    ``start`` and ``stop`` it.
    """

    def __init__(
        self, *, log_file: Path, settings: Mapping[str, str] | None = None, port: int = 0
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = dict(settings or {})
        self.state_dir = log_file.with_suffix(".state")
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once ``GET /`` answers. Raises ``BridgeDied``."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        own = {"PYTHONUNBUFFERED": "1", "STATE_DIR": str(self.state_dir)}
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*web_command(), "--bind", f"127.0.0.1:{self.port}"],
                cwd=ROOT,
                env=inherited | own | self.settings,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal is for whoever started us; we are stopped in our turn.
                start_new_session=True,
            )
        self._wait_until_alive(self._process)

    def stop(self) -> int:
        """Ask it to finish and wait; returns its exit code."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._process = None

    def kill(self) -> None:
        """Kill it at once, as the kernel would for want of memory."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """Everything it has logged."""
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_alive(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        with requests.Session() as session:
            session.trust_env = False
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    raise BridgeDied("\n".join(self.log().splitlines()[-20:]))
                try:
                    if session.get(self.url, timeout=POLL_SECONDS * 20).ok:
                        return
                except requests.RequestException:
                    time.sleep(POLL_SECONDS)
        self.stop()
        raise BridgeDied(f"The bridge did not answer within {START_SECONDS:.0f} s")


def web_command() -> list[str]:
    """The Procfile's ``web`` line, with gunicorn taken from this Python's environment."""
    for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines():
        kind, _, command = line.partition(":")
        if kind == "web":
            program, *arguments = shlex.split(command)
            return [sys.executable, "-m", program, *arguments]
    raise RuntimeError("the Procfile has no web process")


def free_port() -> int:
    """A loopback port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
