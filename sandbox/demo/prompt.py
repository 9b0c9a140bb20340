"""An interactive prompt: typed lines become WhatsApp messages, and the bot's messages are shown."""

from __future__ import annotations

import os
import select
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sandbox import Sandbox
from sandbox.call_recorder import Violation
from sandbox.demo.screen import Screen
from sandbox.twilio.messages import Outbound

PROMPT = "> "
# How often new messages are looked for.
POLL_SECONDS = 0.1


class Prompt:
    """Reads lines until Ctrl-D; without a terminal it runs until the process is stopped.

    ``show`` prints a message of the bot, ``send_file`` sends a recording as the user.
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
        # How many messages and violations have been shown.
        self._messages = 0
        self._violations = 0
        # The beginning of a line whose end was not read yet.
        self._partial = b""
        # Not a buffered reader, because ``select`` cannot see what that has already read.
        self._input = _stdin_descriptor()
        self._interactive = self._input is not None and os.isatty(self._input)

    def mark_all_shown(self) -> None:
        """Do not show the messages and violations until now."""
        self._messages = len(self._sandbox.twilio.messages())
        self._violations = len(self._sandbox.recorder.violations)

    def run(self) -> None:
        self._show_prompt()
        while True:
            sources = [] if self._input is None else [self._input]
            readable, _, _ = select.select(sources, [], [], POLL_SECONDS)
            if readable and not self._read():
                return
            self._show_new()

    def _read(self) -> bool:
        """Read and handle lines; False if an interactive session has ended."""
        assert self._input is not None
        received = os.read(self._input, 4096)
        self._partial += received
        *lines, self._partial = self._partial.split(b"\n")
        if not received:
            # The last line of a file may have no line feed.
            lines = [self._partial] if self._partial else []
            self._partial, self._input = b"", None
        for line in lines:
            self._handle(line.decode(errors="replace").strip())
        if not received and self._interactive:
            self._screen.line()
            return False
        return True

    def _handle(self, line: str) -> None:
        path = parse_file(line)
        if path is not None:
            self._send_file(path)
            self.mark_all_shown()
        elif line:
            self._send_text(line)
        self._show_prompt()

    def _send_text(self, line: str) -> None:
        if not self._interactive:
            self._screen.labelled("You write", line)
        delivery = self._sandbox.twilio.say(self._user, line)
        if delivery.status != 200:
            problem = f"HTTP {delivery.status}" if delivery.status else "no answer"
            self._screen.line(
                self._screen.coloured(f"The bridge did not accept it: {problem}", "red")
            )

    def _show_new(self) -> None:
        """Show new messages in order; a recording that is being fetched delays those after it."""
        messages = self._sandbox.twilio.messages()[self._messages :]
        violations = self._sandbox.recorder.violations[self._violations :]
        if not violations and not (messages and _is_final(messages[0])):
            return
        if self._interactive:
            self._screen.clear_line()
        for message in messages:
            if not _is_final(message):
                break
            self._messages += 1
            self._show(message)
        for violation in violations:
            self._violations += 1
            self._screen.text(describe_violation(violation), "red")
        self._show_prompt()

    def _show_prompt(self) -> None:
        if self._interactive:
            self._screen.prompt(PROMPT)


def describe_violation(violation: Violation) -> str:
    return f"Violation in {violation.service} {violation.call}: {violation.rule}"


def parse_file(line: str) -> Path | None:
    """The path in ``file PATH``, or an existing file that was dropped on the window; else None."""
    is_command = line.startswith("file ")
    try:
        parts = shlex.split(line.removeprefix("file ") if is_command else line)
    except ValueError:
        # An unmatched quotation mark, such as an apostrophe.
        parts = []
    if is_command and not parts:
        parts = [line.removeprefix("file ").strip()]
    name = " ".join(parts)
    if name.startswith("file://"):
        name = unquote(urlsplit(name).path)
    path = Path(name).expanduser()
    return path if name and (is_command or path.is_file()) else None


def _is_final(message: Outbound) -> bool:
    """Whether the message is complete: a text, a fetched recording, or a failure."""
    return message.error_code is not None or message.media_url is None or message.audio is not None


def _stdin_descriptor() -> int | None:
    """The file descriptor of the standard input; None if that is closed."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, ValueError, OSError):
        return None
