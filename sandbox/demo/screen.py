"""Terminal output: steps with their duration, labelled texts, and colours if possible."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Literal, TextIO

# Longer lines are hard to read.
MAX_WIDTH = 72
# Narrower terminals wrap the lines themselves.
MIN_WIDTH = 30
COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "cyan": "36"}
# Back to the start of the line, and remove what is there.
ERASE_LINE = "\r\x1b[K"

Colour = Literal["bold", "dim", "red", "green", "cyan"]


class OutputFailed(Exception):
    """Nothing can be shown any more."""


class Screen:
    """Plain text on ``stream`` (by default the standard output), at most 72 columns wide.

    Below the text, a terminal shows the ``status``: what is being waited for. It disappears when
    something is printed. ``has_prompt`` says whether a prompt is there instead, which shows the
    status itself. ``failure`` is why nothing can be written any more, or None. Safe to use from
    several threads.

    What prints raises ``OutputFailed`` when that fails; from then on nothing is printed.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream
        self._lock = threading.RLock()
        self._closed = False
        self.failure: OSError | None = None
        self.has_prompt = False
        self.status = ""
        self.is_terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
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
        with self._lock:
            self.show_status("")
            self._write(f"{text}\n")

    def text(self, text: str, colour: Colour | None = None) -> None:
        """Print ``text`` wrapped, with its own line breaks."""
        wrapped = "\n".join(self._wrap(line, "", "") for line in text.splitlines())
        self.line(self.coloured(wrapped, colour) if colour else wrapped)

    def labelled(self, label: str, text: str, colour: Colour = "bold") -> None:
        """Print ``Label: text``; further lines of the text are indented."""
        first, *more = text.splitlines() or [""]
        wrapped = self._wrap(f"{label}: {first}", "", "  ")
        lines = [wrapped.replace(f"{label}:", self.coloured(f"{label}:", colour), 1)]
        lines += [self._wrap(line, "  ", "  ") for line in more]
        self.line("\n".join(lines))

    def entry(self, term: str, text: str, width: int) -> None:
        """Print ``text`` after ``term``, in two columns of which the first has ``width``."""
        self.line(self._wrap(f"{term:<{width}} {text}", "", " " * (width + 1)))

    def item(self, text: str) -> None:
        """Print ``text`` as an item of a list."""
        bullet = "•" if self.is_unicode else "-"
        self.line(self._wrap(f"{bullet} {text}", "", "  "))

    def show_status(self, text: str) -> None:
        """Show ``text`` on the last line until something is printed; only on a terminal."""
        with self._lock:
            if self.status == text:
                return
            self.status = text
            if self.is_terminal and not self.has_prompt:
                shown = text[: self.width - 1]
                self._write(ERASE_LINE + (self.coloured(shown, "dim") if shown else ""))

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show ``name`` as the status, and at the end of the context how many seconds it took."""
        ellipsis = "…" if self.is_unicode else "..."
        self.show_status(f"{name} {ellipsis}")
        started = time.monotonic()
        try:
            yield
        except Exception:
            self.line(f"{name} {ellipsis} failed")
            raise
        self.line(f"{name} {ellipsis} {time.monotonic() - started:.1f} s")

    @contextlib.contextmanager
    def prompting(self) -> Iterator[None]:
        """While a prompt, which shows ``status`` itself, is at the bottom of the terminal."""
        self.show_status("")
        self.has_prompt = True
        try:
            yield
        finally:
            self.show_status("")
            self.has_prompt = False

    def close(self) -> None:
        """Print nothing from now on."""
        with self._lock:
            self.show_status("")
            self._closed = True

    def _write(self, text: str) -> None:
        if self._closed:
            return
        try:
            print(text, end="", file=self._stream, flush=True)
        except OSError as error:
            self._closed, self.failure = True, error
            raise OutputFailed from error

    @property
    def _stream(self) -> TextIO:
        """Looked up each time, because a prompt replaces the standard output."""
        return self._given or sys.stdout

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
