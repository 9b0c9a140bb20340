"""Runs Piper as a child process.

Piper's licence is the GPL, so it is used only by its command line and never imported.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import wave
from pathlib import Path
from typing import IO

from sandbox.speech import Sound

# Piper logs this before the name of each WAV file.
_WROTE = "Wrote "


class PiperFailed(RuntimeError):
    """Piper ended or was too slow; the message is the end of its log."""


class PiperProcess:
    """A process that keeps the voice loaded: it reads lines of text and writes WAV files.

    The child ends when this process ends, because its standard input is closed. Safe to use from
    many threads, but it serves one at a time: Piper uses all cores for one sentence anyway.
    """

    def __init__(self, *, voice: Path, timeout: float = 60.0) -> None:
        self._voice = voice
        self._timeout = timeout
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="piper-")
        # Started early, because loading the voice takes a second or two.
        self._child: subprocess.Popen[str] | None = self._start()

    def synthesize(self, text: str) -> Sound:
        """Read ``text`` aloud, at the voice's own sample rate; raises :class:`PiperFailed`.

        The text must contain a word: Piper crashes on a line without sounds.
        """
        with self._lock:
            child = self._ensure_running()
            timer = threading.Timer(self._timeout, child.kill)
            timer.start()
            try:
                return _read_wav(self._write_wav(child, text))
            finally:
                timer.cancel()

    def close(self) -> None:
        with self._lock:
            if self._child is not None:
                _pipe(self._child.stdin).close()
                self._child.wait(self._timeout)
                _pipe(self._child.stderr).close()
                self._child = None
            self._folder.cleanup()

    def _ensure_running(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            self._child = self._start()
        return self._child

    def _start(self) -> subprocess.Popen[str]:
        # A folder of its own, because Piper searches the current one for modules and voices.
        folder = self._folder.name
        options = ["--model", str(self._voice), "--output-dir", folder]
        return subprocess.Popen(
            [sys.executable, "-X", "utf8", "-m", "piper", *options],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            bufsize=1,
            # Ctrl-C in a terminal must not reach this process: ``close`` ends it in order.
            start_new_session=True,
        )

    def _write_wav(self, child: subprocess.Popen[str], text: str) -> Path:
        """Let Piper write a WAV file; returns its path, which Piper logs."""
        log: list[str] = []
        try:
            _pipe(child.stdin).write(" ".join(text.split()) + "\n")
            for line in _pipe(child.stderr):
                if _WROTE in line:
                    return Path(line.partition(_WROTE)[2].strip())
                log.append(line)
        except OSError as error:
            log.append(str(error))
        raise PiperFailed("".join(log[-3:]).strip() or "Piper was too slow")


def _read_wav(path: Path) -> Sound:
    """Read the file and delete it."""
    with wave.open(str(path), "rb") as file:
        sound = Sound(file.readframes(file.getnframes()), file.getframerate())
    path.unlink()
    return sound


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
