"""Terminal output: steps with their duration, labelled texts, and colours if possible."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Literal, TextIO

# Longer lines are hard to read.
MAX_WIDTH = 72
# Narrower terminals wrap the lines themselves.
MIN_WIDTH = 30
COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "cyan": "36"}

Colour = Literal["bold", "dim", "red", "green", "cyan"]


class Screen:
    """Plain text on ``stream``, at most 72 columns wide."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.is_terminal = self._stream.isatty()
        self.is_unicode = (self._stream.encoding or "").lower().startswith("utf")
        self._coloured = self.is_terminal and not os.environ.get("NO_COLOR")

    @property
    def width(self) -> int:
        """The current width in columns; it changes when the window is resized."""
        columns = shutil.get_terminal_size((MAX_WIDTH, 24)).columns
        return max(MIN_WIDTH, min(columns, MAX_WIDTH))

    def coloured(self, text: str, colour: Colour) -> str:
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if self._coloured else text

    def line(self, text: str = "") -> None:
        print(text, file=self._stream, flush=True)

    def prompt(self, text: str) -> None:
        """Show ``text`` without a line feed; does nothing without a terminal."""
        if self.is_terminal:
            print(text, end="", file=self._stream, flush=True)

    def clear_line(self) -> None:
        """Remove a prompt."""
        if self.is_terminal:
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def text(self, text: str, colour: Colour | None = None) -> None:
        """Print ``text`` wrapped, with its own line breaks."""
        wrapped = "\n".join(self._wrap(line, "", "") for line in text.splitlines())
        self.line(self.coloured(wrapped, colour) if colour else wrapped)

    def labelled(self, label: str, text: str, colour: Colour = "bold") -> None:
        """Print ``Label: text``; further lines of the text are indented."""
        first, *more = text.splitlines() or [""]
        wrapped = self._wrap(f"{label}: {first}", "", "  ")
        self.line(wrapped.replace(f"{label}:", self.coloured(f"{label}:", colour), 1))
        for line in more:
            self.line(self._wrap(line, "  ", "  "))

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Callable[[], None]]:
        """Print ``name … ``, and at the end of the context how many seconds it took.

        Yields a function that shows the elapsed seconds meanwhile.
        """
        print(f"{name} … ", end="", file=self._stream, flush=True)
        started = time.monotonic()

        def show_elapsed() -> None:
            seconds = f"{time.monotonic() - started:.0f} s"
            # Backspaces cannot go back to the previous line.
            if len(f"{name} … {seconds}") < self.width:
                self.prompt(seconds + "\b" * len(seconds))

        try:
            yield show_elapsed
        except BaseException:
            self.line("failed")
            raise
        # With its decimal it is longer than the elapsed seconds, and overwrites them.
        self.line(f"{time.monotonic() - started:.1f} s")

    def _wrap(self, text: str, first_indent: str, indent: str) -> str:
        return textwrap.fill(
            text,
            self.width,
            initial_indent=first_indent,
            subsequent_indent=indent,
            # A wrapped path or URL could not be copied.
            break_long_words=False,
            break_on_hyphens=False,
        )
