"""Piper as a child process.

Piper is GPL: it is run through its own command line and never imported.
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

_WROTE = "Wrote "


class PiperFailed(RuntimeError):
    """Piper ended or was too slow; its last words are the message."""


class PiperProcess:
    """A voice that stays loaded: one line of text in, one WAV file out.

    The child ends by itself when this process does, because its input ends. Safe to use from
    many threads, one at a time; Piper uses all cores for one sentence anyway.
    """

    def __init__(self, *, voice: Path, patience: float = 60.0) -> None:
        self._voice = voice
        self._patience = patience
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="piper-")
        # Started ahead: loading the voice takes a second or two.
        self._child: subprocess.Popen[str] | None = self._started()

    def say(self, text: str) -> Sound:
        """``text`` spoken, at the voice's own rate; raises :class:`PiperFailed`.

        The text must hold something to say: Piper dies of a line without sounds.
        """
        with self._lock:
            child = self._running()
            timer = threading.Timer(self._patience, child.kill)
            timer.start()
            try:
                return _read(self._spoken(child, text))
            finally:
                timer.cancel()

    def close(self) -> None:
        with self._lock:
            if self._child is not None:
                _pipe(self._child.stdin).close()
                self._child.wait(self._patience)
                _pipe(self._child.stderr).close()
                self._child = None
            self._folder.cleanup()

    def _running(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            self._child = self._started()
        return self._child

    def _started(self) -> subprocess.Popen[str]:
        # Its own folder is where Piper looks for modules and voices.
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
        )

    def _spoken(self, child: subprocess.Popen[str], text: str) -> Path:
        """The WAV file; Piper names it in its log."""
        said: list[str] = []
        try:
            _pipe(child.stdin).write(" ".join(text.split()) + "\n")
            for line in _pipe(child.stderr):
                if _WROTE in line:
                    return Path(line.partition(_WROTE)[2].strip())
                said.append(line)
        except OSError as error:
            said.append(str(error))
        raise PiperFailed("".join(said[-3:]).strip() or "Piper was too slow")


def _read(path: Path) -> Sound:
    with wave.open(str(path), "rb") as file:
        sound = Sound(file.readframes(file.getnframes()), file.getframerate())
    path.unlink()
    return sound


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
