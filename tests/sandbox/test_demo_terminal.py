"""``make demo`` in a terminal: editing, commands, answers that arrive meanwhile, and Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.sandbox.terminal import CTRL_C, CTRL_D, ENTER, LEFT, UP, Terminal
from tests.sandbox.waiting import wait_until_ended

PROMPT_SHOWN = "stop; so do Ctrl-C and Ctrl-D\n\n>"
SLOW_AGENT = json.dumps({"service": "agentforce", "call": "ask", "kind": "hang", "seconds": 60})

Start = Callable[..., Terminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the demo in a terminal of 60 columns with further options."""
    terminals = []

    def start_demo(*options: str) -> Terminal:
        command = [sys.executable, "-m", "sandbox.demo", "--speech", "fixtures"]
        terminals.append(Terminal([*command, "--folder", str(tmp_path), *options], columns=60))
        return terminals[-1]

    yield start_demo
    for terminal in terminals:
        terminal.close()


@pytest.fixture
def browser() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_a_session_at_the_prompt(start: Start, browser: requests.Session, tmp_path: Path) -> None:
    """Lines are edited and recalled, and answers appear above a line that is half typed."""
    terminal = start()
    shown = terminal.wait_for(PROMPT_SHOWN)
    control = re.search(r"^Sandbox +(\S+)$", terminal.output, re.MULTILINE)
    assert control is not None

    terminal.type(f"What is the stats of my invoice?{LEFT * 16}u{ENTER}")
    shown = terminal.wait_for("Agent: I can look that up.", after=shown)
    shown = terminal.wait_for("Session kept", after=shown)

    # Somebody else's message is answered while a line is half typed.
    terminal.type("20")
    said = browser.post(f"{control[1]}/say", json={"from": "+15550101", "text": "thanks"})
    assert said.ok
    shown = terminal.wait_for("Agent: You're welcome!", after=shown)
    # The line is drawn again below it.
    shown = terminal.wait_for("20", after=shown)
    terminal.type(f"41{ENTER}")
    shown = terminal.wait_for("I searched for “2041”", after=shown)

    terminal.type(f"{UP}{UP}{ENTER}")
    shown = terminal.wait_for("Agent: I can look that up.", after=shown)

    terminal.type(f"help{ENTER}")
    shown = terminal.wait_for(f"curl {control[1]}/faults", after=shown)
    terminal.type(f"say hello{ENTER}")
    shown = terminal.wait_for("answers/2", after=shown)
    heard = browser.get(f"{control[1]}/answers/2")
    assert heard.headers["Content-Type"].startswith("audio/ogg")
    assert heard.content == next(tmp_path.glob("*/answer-2.ogg")).read_bytes()

    terminal.type(CTRL_D)
    assert terminal.wait() == 0
    assert terminal.output.endswith("Stopping.\n")


@pytest.mark.parametrize(
    ("options", "moment", "status"),
    [
        ((), "Starting the bridge", 130),
        (("--fault", SLOW_AGENT), "Agent, ", 130),
        ((), PROMPT_SHOWN, 0),
    ],
    ids=["at the start", "in a turn", "at the prompt"],
)
def test_ctrl_c_ends_it_quietly_with_all_its_processes(
    start: Start, options: tuple[str, ...], moment: str, status: int
) -> None:
    terminal = start(*options)
    shown = terminal.wait_for(moment)
    children = psutil.Process(terminal.process.pid).children(recursive=True)
    terminal.type(CTRL_C)
    assert terminal.wait() == status
    assert terminal.output[shown:].count("\n") <= 4
    assert terminal.output.endswith("Stopping.\n")
    assert "Traceback" not in terminal.output
    wait_until_ended(children)


def test_kill_at_the_prompt_is_told_by_the_status(start: Start) -> None:
    terminal = start()
    shown = terminal.wait_for(PROMPT_SHOWN)
    # The prompt reads keys soon after it is shown.
    terminal.type("half a line")
    terminal.wait_for("half a line", after=shown)
    terminal.process.terminate()
    assert terminal.wait() == 128 + signal.SIGTERM
    assert terminal.output.endswith("Stopping.\n")
    assert "Traceback" not in terminal.output
