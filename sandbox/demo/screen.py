"""The terminal of a person who watches: steps, labelled texts, colours where they are wanted."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Literal, TextIO

# Longer lines are hard to read, and narrower terminals than this break them anyway.
WIDEST = 72
NARROWEST = 30
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
        """As it is now: windows are resized."""
        return max(NARROWEST, min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST))

    def coloured(self, text: str, colour: Colour) -> str:
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if self._coloured else text

    def line(self, text: str = "") -> None:
        print(text, file=self._stream, flush=True)

    def prompt(self, text: str) -> None:
        """Ask for input; does nothing where no person would see it."""
        if self.is_terminal:
            print(text, end="", file=self._stream, flush=True)

    def clear_line(self) -> None:
        """Take a prompt back."""
        if self.is_terminal:
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def text(self, text: str, colour: Colour | None = None) -> None:
        """``text`` wrapped, its own line breaks kept."""
        wrapped = "\n".join(self._wrapped(line, "", "") for line in text.splitlines())
        self.line(self.coloured(wrapped, colour) if colour else wrapped)

    def labelled(self, label: str, text: str, colour: Colour = "bold") -> None:
        """``Label: text``, with the further lines of the text set in under it."""
        first, *more = text.splitlines() or [""]
        wrapped = self._wrapped(f"{label}: {first}", "", "  ")
        self.line(wrapped.replace(f"{label}:", self.coloured(f"{label}:", colour), 1))
        for line in more:
            self.line(self._wrapped(line, "  ", "  "))

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[Callable[[], None]]:
        """``what … 1.2 s``: what takes a moment, and how long it took.

        What is yielded, when called, lets a person see how long it has taken so far.
        """
        print(f"{what} … ", end="", file=self._stream, flush=True)
        started = time.monotonic()

        def so_far() -> None:
            seconds = f"{time.monotonic() - started:.0f} s"
            # Nobody can go back over the end of a line.
            if len(f"{what} … {seconds}") < self.width:
                self.prompt(seconds + "\b" * len(seconds))

        try:
            yield so_far
        except BaseException:
            self.line("failed")
            raise
        # Longer than what was shown so far, so nothing of that is left.
        self.line(f"{time.monotonic() - started:.1f} s")

    def _wrapped(self, text: str, first: str, further: str) -> str:
        return textwrap.fill(
            text,
            self.width,
            initial_indent=first,
            subsequent_indent=further,
            # A path or address that is broken cannot be copied.
            break_long_words=False,
            break_on_hyphens=False,
        )
