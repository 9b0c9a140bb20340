"""The demo's prompt, without the demo."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Never, TextIO

import pytest

from sandbox.demo.prompt import Prompt
from sandbox.demo.screen import Screen


class Signalled(Exception):
    """The signal was handled."""


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """What is written to it is read from the standard input."""
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as stdin, os.fdopen(writer, "w") as keyboard:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield keyboard


@pytest.fixture
def raises_signalled() -> Iterator[None]:
    def handle(*_: object) -> Never:
        raise Signalled

    before = signal.signal(signal.SIGUSR1, handle)
    yield
    signal.signal(signal.SIGUSR1, before)


def _signal_this_thread(line: str) -> bool:
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    return True


@pytest.mark.usefixtures("raises_signalled")
def test_a_signal_that_arrives_in_another_thread_ends_the_wait_for_the_next_line(
    keyboard: TextIO,
) -> None:
    keyboard.write("hello\n")
    keyboard.flush()
    prompt = Prompt(screen=Screen(), handle=_signal_this_thread, show_new=lambda: None)
    with pytest.raises(Signalled):
        prompt.run()


def test_lines_are_split_where_they_end_and_the_last_one_needs_no_end(keyboard: TextIO) -> None:
    lines: list[str] = []
    read_two = threading.Event()

    def handle(line: str) -> bool:
        lines.append(line)
        if line == "second":
            read_two.set()
        return True

    def type_lines() -> None:
        keyboard.write("first\nsec")
        keyboard.flush()
        keyboard.write("ond\n\n")
        keyboard.flush()
        read_two.wait()
        # Half of a letter, and then the other half.
        letter = "é".encode()
        for part in (letter[:1], letter[1:]):
            os.write(keyboard.fileno(), part)
        keyboard.close()

    typist = threading.Thread(target=type_lines)
    typist.start()
    assert Prompt(screen=Screen(), handle=handle, show_new=lambda: None).run()
    typist.join()
    assert lines == ["first", "second", "é"]
