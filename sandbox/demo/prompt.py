"""Reads lines from a terminal or a pipe, and hands them to a thread that carries them out."""

from __future__ import annotations

import codecs
import os
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.patch_stdout import patch_stdout

from sandbox.demo.screen import OutputFailed, Screen

PROMPT = "> "
# How often new messages are looked for, and how often the status beside the prompt is drawn.
POLL_SECONDS = 0.1
REFRESH_SECONDS = 0.5
# How soon a signal is noticed at the latest while a pipe is read.
WAKE_SECONDS = 1.0
CHUNK_BYTES = 65_536
QUIT = ("quit", "exit")


class Prompt:
    """Reads lines until ``quit``, Ctrl-D or the end of a pipe.

    ``handle`` carries out a line and returns whether that went well, and ``show_new`` shows what
    happened otherwise. Both are called on a thread of their own, so that the next line can be
    edited meanwhile.
    """

    def __init__(
        self,
        *,
        screen: Screen,
        handle: Callable[[str], bool],
        show_new: Callable[[], None],
    ) -> None:
        self._screen = screen
        self._handle = handle
        self._show_new = show_new
        self._lines: queue.Queue[str] = queue.Queue()
        self._succeeded = True
        self._thread = threading.Thread(target=self._work, name="demo", daemon=True)

    @property
    def is_interactive(self) -> bool:
        """Whether there is a prompt in a terminal, and not lines from a pipe."""
        return sys.stdin is not None and sys.stdin.isatty() and self._screen.is_terminal

    def run(self) -> bool:
        """Returns whether all lines of a pipe went well; True for a terminal."""
        self._thread.start()
        if self.is_interactive:
            self._read_terminal()
            return True
        if not self._read_pipe():
            # Such as a service in the background.
            self._screen.text("There is no input. The bridge runs until it is stopped.")
            while True:
                time.sleep(WAKE_SECONDS)
        self._lines.join()
        return self._succeeded

    def _read_terminal(self) -> None:
        session: PromptSession[str] = PromptSession(
            PROMPT, rprompt=lambda: self._screen.status, refresh_interval=REFRESH_SECONDS
        )
        # What is printed meanwhile appears above the prompt.
        with patch_stdout(raw=True), self._screen.prompting():
            while True:
                try:
                    line = session.prompt().strip()
                except EOFError:
                    return
                if line in QUIT:
                    return
                self._submit(line)

    def _read_pipe(self) -> bool:
        """Returns whether there was a line."""
        if sys.stdin is None:
            return False
        had_line = False
        for line in _piped_lines(sys.stdin):
            had_line = True
            if line.strip() in QUIT:
                break
            self._submit(line.strip())
        return had_line

    def _submit(self, line: str) -> None:
        if line:
            self._lines.put(line)

    def _work(self) -> None:
        while True:
            try:
                line = self._lines.get(timeout=POLL_SECONDS)
            except queue.Empty:
                line = ""
            self._succeeded = self._carry_out(line) and self._succeeded
            if line:
                self._lines.task_done()

    def _carry_out(self, line: str) -> bool:
        """Handle the line, or look for news if it is empty; returns whether that went well."""
        try:
            if line:
                return self._handle(line)
            self._show_new()
        except OutputFailed:
            # Nobody would see anything that follows: end the main thread, which may wait for input.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            return False
        except Exception as error:
            self._screen.text(f"{type(error).__name__}: {error}", "red")
            return False
        return True


def _piped_lines(stream: TextIO) -> Iterator[str]:
    """The lines of ``stream``, read so that the main thread wakes to handle signals.

    Python runs handlers in the main thread between two instructions. A signal that arrives in
    another thread, or just before the main thread blocks, would not end a read that blocks.
    """
    decoder = codecs.getincrementaldecoder(stream.encoding)("replace")
    rest = ""
    while True:
        while not select.select([stream], [], [], WAKE_SECONDS)[0]:
            pass
        data = os.read(stream.fileno(), CHUNK_BYTES)
        *lines, rest = (rest + decoder.decode(data, final=not data)).split("\n")
        yield from lines
        if not data:
            break
    if rest:
        yield rest
