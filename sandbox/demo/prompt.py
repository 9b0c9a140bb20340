"""A person's turn: lines that are typed become messages, and what the bot sends is shown."""

from __future__ import annotations

import os
import select
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sandbox import Sandbox
from sandbox.demo.screen import Screen
from sandbox.twilio.messages import Outbound

MARK = "> "
# How long a message may wait to be shown.
LOOK_SECONDS = 0.1


class Prompt:
    """Reads lines until Ctrl-D; without a terminal it goes on until the process is stopped.

    ``show`` prints a message of the bot, ``send_file`` lets the user send a recording.
    """

    def __init__(
        self,
        *,
        sandbox: Sandbox,
        screen: Screen,
        user: str,
        show: Callable[[Outbound], None],
        send_file: Callable[[Path], None],
    ) -> None:
        self._sandbox = sandbox
        self._screen = screen
        self._user = user
        self._show = show
        self._send_file = send_file
        self._shown = 0
        self._violations = 0
        self._typed = b""
        # The descriptor itself: what a buffered reader has taken in, select does not see.
        self._input = _descriptor()
        self._interactive = self._input is not None and os.isatty(self._input)

    def skip_to_now(self) -> None:
        """Leave out what was sent so far: it has been shown otherwise."""
        self._shown = len(self._sandbox.twilio.messages())
        self._violations = len(self._sandbox.recorder.violations)

    def run(self) -> None:
        self._ask()
        while True:
            sources = [] if self._input is None else [self._input]
            readable, _, _ = select.select(sources, [], [], LOOK_SECONDS)
            if readable and not self._read():
                return
            self._show_news()

    def _read(self) -> bool:
        """Take what was typed; False when that was the end of the input, and of the talk."""
        assert self._input is not None
        received = os.read(self._input, 4096)
        self._typed += received
        *lines, self._typed = self._typed.split(b"\n")
        if not received:
            # The last line of a file may lack its end.
            lines = [self._typed] if self._typed else []
            self._typed, self._input = b"", None
        for line in lines:
            self._obey(line.decode(errors="replace").strip())
        if not received and self._interactive:
            self._screen.line()
            return False
        return True

    def _obey(self, line: str) -> None:
        path = dropped_file(line)
        if path is not None:
            self._send_file(path)
            self.skip_to_now()
        elif line:
            self._say(line)
        self._ask()

    def _say(self, line: str) -> None:
        if not self._interactive:
            self._screen.labelled("You write", line)
        delivery = self._sandbox.twilio.say(self._user, line)
        if delivery.status != 200:
            problem = f"HTTP {delivery.status}" if delivery.status else "no answer"
            self._screen.line(
                self._screen.coloured(f"The bridge did not take it: {problem}", "red")
            )

    def _show_news(self) -> None:
        """Messages in order: a recording that is still being fetched holds up what follows."""
        news = self._sandbox.twilio.messages()[self._shown :]
        breaches = self._sandbox.recorder.violations[self._violations :]
        if not breaches and not (news and _is_settled(news[0])):
            return
        if self._interactive:
            self._screen.clear_line()
        for message in news:
            if not _is_settled(message):
                break
            self._shown += 1
            self._show(message)
        for breach in breaches:
            self._violations += 1
            told = f"Against the contract of {breach.service} {breach.call}: {breach.rule}"
            self._screen.text(told, "red")
        self._ask()

    def _ask(self) -> None:
        if self._interactive:
            self._screen.prompt(MARK)


def dropped_file(line: str) -> Path | None:
    """The file that a line names: by ``file PATH``, or as a path that was dropped on the window."""
    ordered = line.startswith("file ")
    try:
        parts = shlex.split(line.removeprefix("file ") if ordered else line)
    except ValueError:
        # A quotation mark without its fellow: an apostrophe.
        parts = []
    if ordered and not parts:
        parts = [line.removeprefix("file ").strip()]
    name = " ".join(parts)
    if name.startswith("file://"):
        name = unquote(urlsplit(name).path)
    path = Path(name).expanduser()
    return path if name and (ordered or path.is_file()) else None


def _is_settled(message: Outbound) -> bool:
    """Whether nothing will change any more that a person sees."""
    return message.error_code is not None or message.media_url is None or message.audio is not None


def _descriptor() -> int | None:
    """Standard input, unless it is closed."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, ValueError, OSError):
        return None
