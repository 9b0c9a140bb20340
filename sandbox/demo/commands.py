"""What can be typed while the demo runs: messages to the agent, and a few commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sandbox.demo.screen import Screen
from sandbox.demo.single_demo import SingleDemo
from sandbox.demo.tour import run_tour
from sandbox.demo.voice_notes import (
    UnusableRecording,
    VoiceNote,
    load_voice_note,
    speak_voice_note,
    user_path,
)
from sandbox.speech import Speech
from sandbox.speech.codec import Codec

COMMANDS = {
    "say TEXT": "your words as a voice note",
    "file PATH": "a recording; or drop a file here",
    "tour": "five messages that show session and cache",
    "help": "this, and how to write from elsewhere",
    "quit": "stop; so do Ctrl-C and Ctrl-D",
}


class Commands:
    """Carries out lines; ``note`` is the voice note of the first turn.

    ``elsewhere`` are commands for another terminal, with what they do.
    """

    def __init__(
        self,
        *,
        demo: SingleDemo,
        screen: Screen,
        speech: Speech,
        codec: Codec,
        note: VoiceNote,
        elsewhere: Mapping[str, str],
    ) -> None:
        self._demo = demo
        self._screen = screen
        self._speech = speech
        self._codec = codec
        self._note = note
        self._elsewhere = elsewhere

    def handle(self, line: str) -> bool:
        """Carry out a line that is not empty; returns whether that went well."""
        word, _, rest = line.partition(" ")
        try:
            if line == "help":
                return self._help()
            if line == "tour":
                return run_tour(self._demo, self._screen, self._note)
            if word == "say" and rest.strip():
                note = speak_voice_note(rest.strip(), self._speech, self._codec)
                return self._demo.send_voice_note(note)
            if path := parse_file(line):
                return self._demo.send_voice_note(load_voice_note(path, self._codec))
        except UnusableRecording as error:
            self._screen.text(str(error), "red")
            return False
        if not self._screen.has_prompt:
            self._screen.labelled("You write", line)
        return self._demo.send_text(line)

    def show(self) -> None:
        """Show the commands."""
        self._screen.text("Type a message to the agent, or a command:")
        for command, effect in COMMANDS.items():
            self._screen.entry(f"  {command}", effect, 12)

    def _help(self) -> bool:
        self.show()
        self._screen.line()
        self._screen.text("From another terminal:")
        for what, command in self._elsewhere.items():
            self._screen.line()
            self._screen.text(what)
            self._screen.line(command)
        self._screen.line()
        return True


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
    path = user_path(name)
    return path if name and (is_command or path.is_file()) else None
