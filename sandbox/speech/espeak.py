"""Runs espeak-ng as a child process, because its licence is the GPL."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from sandbox.speech import PACK_COMMAND, Sound
from sandbox.speech.models import ModelsMissing

PROGRAM = Path(__file__).with_name("espeak_program.py")


class EspeakFailed(RuntimeError):
    """The program ended or was too slow; the message is the end of what it wrote."""


class EspeakProcess:
    """A process that speaks Arabic: it reads lines of text and writes samples.

    The child ends when this process ends, because its standard input is closed. Safe to use from
    many threads; it serves one at a time.
    """

    def __init__(self, *, command: Sequence[str] | None = None, timeout: float = 60.0) -> None:
        """``command`` is another program with the same protocol. Raises ``ModelsMissing``."""
        if command is None and find_spec("espeakng_loader") is None:
            raise ModelsMissing("espeakng-loader", PACK_COMMAND)
        # -P, because this folder has modules of common names.
        self._command = command or [sys.executable, "-P", str(PROGRAM)]
        self._timeout = timeout
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = self._start()

    def synthesize(self, text: str) -> Sound:
        """Read ``text`` aloud; raises :class:`EspeakFailed`, after which the next call works."""
        with self._lock:
            if self._child is None:
                self._child = self._start()
            timer = threading.Timer(self._timeout, self._child.kill)
            timer.start()
            try:
                return _ask(self._child, text)
            except (OSError, ValueError):
                raise EspeakFailed(self._end()) from None
            finally:
                timer.cancel()

    def close(self) -> None:
        with self._lock:
            if self._child is not None:
                self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            # Ctrl-C in a terminal must not reach this process: ``close`` ends it in order.
            start_new_session=True,
        )

    def _end(self) -> str:
        """End the child; returns the last line that it wrote to standard error."""
        assert self._child is not None
        child, self._child = self._child, None
        try:
            _, errors = child.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            _, errors = child.communicate()
        except BrokenPipeError:
            errors = b""
        lines = errors.decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "espeak-ng was too slow")


def _ask(child: subprocess.Popen[bytes], text: str) -> Sound:
    """Raises ``OSError`` or ``ValueError`` if the child does not answer as it should."""
    stdin, stdout = _pipe(child.stdin), _pipe(child.stdout)
    stdin.write(" ".join(text.split()).encode() + b"\n")
    stdin.flush()
    rate, size = map(int, stdout.readline().split())
    pcm = stdout.read(size)
    if len(pcm) != size:
        raise ValueError("the samples end too early")
    return Sound(pcm, rate)


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
