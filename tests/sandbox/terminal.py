"""Runs a program in a pseudo-terminal, as a person would."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence

from sandbox.bridge import ROOT
from tests.sandbox.waiting import PATIENCE_SECONDS

# Colours, movements of the cursor, modes and titles.
ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>78])")
CTRL_C = "\x03"
CTRL_D = "\x04"
UP = "\x1b[A"
LEFT = "\x1b[D"
ENTER = "\r"


class Terminal:
    """A terminal of ``columns`` in which ``command`` runs; ``output`` is all that it wrote."""

    def __init__(self, command: Sequence[str], *, columns: int) -> None:
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        # A pseudo-terminal does not answer the question where its cursor is.
        environment |= {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            # The terminal becomes the controlling one, so that Ctrl-C is a signal.
            preexec_fn=_take_terminal,  # noqa: PLW1509 - it only makes a system call
        )
        os.close(theirs)
        self._descriptor = ours
        self._received = b""

    @property
    def output(self) -> str:
        """What was written, without colours and movements of the cursor."""
        text = self._received.decode(errors="replace")
        return ESCAPE.sub("", text).replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def wait_for(self, text: str, *, after: int = 0, timeout: float = PATIENCE_SECONDS) -> int:
        """Wait until ``text`` was written; returns its end, for ``after`` of the next call."""
        deadline = time.monotonic() + timeout
        while (found := self.output.find(text, after)) < 0:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output}"
            assert self._read(), f"ended without {text!r}:\n{self.output}"
        return found + len(text)

    def wait(self, timeout: float = PATIENCE_SECONDS) -> int:
        """Read until the program ends; returns its exit status."""
        deadline = time.monotonic() + timeout
        while self._read():
            assert time.monotonic() < deadline, f"still running:\n{self.output}"
        return self.process.wait(timeout)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._descriptor)

    def _read(self) -> bool:
        """Read what is there; False when no process has the terminal open any more."""
        if not select.select([self._descriptor], [], [], 0.2)[0]:
            return True
        try:
            received = os.read(self._descriptor, 65536)
        except OSError:
            # Linux reports the end of a pseudo-terminal as an error.
            return False
        self._received += received
        return bool(received)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
