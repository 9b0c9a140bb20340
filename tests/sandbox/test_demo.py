"""``make demo`` as it is used by scripts: its output, its exit status, and what it leaves."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.bridge import ROOT
from sandbox.speech import models
from tests.sandbox.waiting import wait_until

FIXTURES = ("--speech", "fixtures")
# Pip's last words without a network; its other output is longer.
PIP_FAILS = """#!/bin/sh
case "$*" in *pip*) ;; *) echo 3 11; exit 0 ;; esac
for attempt in 1 2 3 4 5; do
    echo "WARNING: Retrying after connection broken by 'NewConnectionError(...)': /simple/flask/"
done
echo "ERROR: No matching distribution found for flask"
exit 1
"""


@pytest.fixture
def models_installed() -> None:
    try:
        models.whisper()
        models.voice()
    except models.ModelsMissing as missing:
        pytest.skip(str(missing))


def _demo(
    folder: Path, *options: str, typed: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox.demo", "--folder", str(folder), *options],
        cwd=ROOT,
        env=os.environ | environment,
        input=typed,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.speech
@pytest.mark.usefixtures("models_installed")
def test_a_voice_note_gets_a_voice_answer_that_can_be_understood(tmp_path: Path) -> None:
    """The exit status is 0, and stages, transcripts and answers are on a narrow screen."""
    done = _demo(tmp_path, "--once", COLUMNS="60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "You said: How do I register an electronic invoice?" in done.stdout
    assert "Agent: To register an electronic invoice, log in" in done.stdout
    # Once when it has ended, and once in the table.
    for stage in ("Webhook acknowledged", "Transcription", "Agent ", "Voice note fetched"):
        assert done.stdout.count(f"\n{stage}") == 2
    assert re.search(
        r"Voice answer:\s+\S+/answer-1\.ogg\s+\(2\d\.\d\s+s,\s+\d+\s+KB\)", done.stdout
    )
    assert next(tmp_path.glob("*/answer-1.ogg")).read_bytes().startswith(b"OggS")
    # Its words differ a little each time; whether they match decides the exit status.
    assert re.search(r"\nTranscript: [^(]+ \(\d+% match\)\n", done.stdout)
    lines = [line for line in done.stdout.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 60
    assert "\x1b" not in done.stdout


def test_further_messages_show_the_session_the_cache_and_a_command(tmp_path: Path) -> None:
    done = _demo(tmp_path, *FIXTURES, "--once", "--tour")
    assert done.returncode == 0, done.stdout + done.stderr
    notes = re.findall(r"^• (\S+ \S+ \S+)", done.stdout, re.MULTILINE)
    assert [note for note in notes if not note.startswith(("Text", "Voice"))] == [
        "New session: this",
        "New speech: ElevenLabs",
        "Session kept: the",
        "Speech from the",
        "Session kept: the",
        "Session kept: the",
        "The agent's session",
        "New session: the",
    ]
    assert "Agent: Done. The cancellation of invoice 2041" in done.stdout
    assert "Bridge: Let's start afresh." in done.stdout
    assert "Agent: I'm sorry, I don't know" in done.stdout


def test_a_recording_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    done = _demo(tmp_path, *FIXTURES, "--once", "--file", "/nowhere.ogg")
    assert done.returncode == 1
    assert "\n/nowhere.ogg cannot be sent: No such file or directory.\n" in done.stdout
    assert not done.stderr


def test_a_tilde_that_no_shell_expanded_is_the_home_folder(tmp_path: Path) -> None:
    note = ROOT / "sandbox/demo/recordings/question-en.ogg"
    (tmp_path / "note.ogg").write_bytes(note.read_bytes())
    options = ("--once", "--file", "~/note.ogg", "--fault", "no JSON")
    done = _demo(Path("~/runs"), *FIXTURES, *options, HOME=str(tmp_path))
    assert "--fault no JSON:" in done.stdout
    assert "note.ogg cannot be sent" not in done.stdout
    assert (tmp_path / "runs").is_dir()


def test_a_missing_voice_answer_is_a_failure(tmp_path: Path) -> None:
    """The exit status is 1, and the reason and the end of the bridge's log are on the screen."""
    fault = json.dumps({"service": "elevenlabs", "call": "speak", "status": 401, "times": None})
    done = _demo(tmp_path, *FIXTURES, "--once", "--fault", fault)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Agent: To register" in done.stdout
    assert "could not be spoken or sent" in " ".join(done.stdout.split())
    assert "bridge.log" in done.stdout
    assert "Voice answer:" not in done.stdout


def test_lines_of_a_pipe_are_answered_in_turn(tmp_path: Path) -> None:
    """The exit status tells whether all went well: a recording is missing here."""
    lines = "hello\nvoice off\nsay How do I cancel an invoice?\nfile /nowhere.ogg\nyes\n"
    done = _demo(tmp_path, *FIXTURES, typed=lines)
    assert done.returncode == 1, done.stdout + done.stderr
    said = re.findall(r"^(?:Agent|Bridge): (\w+ \w+|\w+)|^(/nowhere\S+)", done.stdout, re.MULTILINE)
    assert [agent or file for agent, file in said] == [
        "To register",
        "Hello",
        "I",
        "I can",
        "/nowhere.ogg",
        "Done",
    ]
    # After “voice off” the answer to a voice note is a text, for which the demo waits no longer.
    assert "The answer came as text only." in done.stdout


def test_without_any_input_it_runs_until_it_is_stopped(tmp_path: Path) -> None:
    """Such as in the background; two at the same time do not disturb each other."""
    command = [sys.executable, "-m", "sandbox.demo", *FIXTURES, "--folder", str(tmp_path)]
    demos = []
    for number in (1, 2):
        with (tmp_path / f"output-{number}").open("w") as output:
            demos.append(
                subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output)
            )
    try:
        outputs = [tmp_path / "output-1", tmp_path / "output-2"]
        wait_until(
            lambda: all("There is no input." in path.read_text() for path in outputs), "both wait"
        )
        assert len(list(tmp_path.glob("*/answer-1.ogg"))) == 2
        for demo in demos:
            demo.send_signal(signal.SIGTERM)
        assert [demo.wait(60) for demo in demos] == [128 + signal.SIGTERM] * 2
    finally:
        for demo in demos:
            demo.kill()


def test_it_runs_without_a_standard_input(tmp_path: Path) -> None:
    """Such as a job of a scheduler: nobody can type, and the bridge starts nevertheless."""
    done = _demo_in_shell(tmp_path, "<&-")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Agent: To register" in done.stdout


@pytest.mark.parametrize(
    ("redirection", "sentence"),
    [
        ("| head -1", ""),
        ("> /dev/full", "The output cannot be written: No space left on device.\n"),
        (">&-", "The standard output is closed, so nothing can be shown.\n"),
        (
            "--folder /dev/null/runs",
            "No folder can be made in /dev/null/runs: Not a directory.\n",
        ),
    ],
    ids=["reader gone", "disk full", "closed", "no folder"],
)
def test_without_a_place_to_write_it_ends_with_a_sentence(
    tmp_path: Path, redirection: str, sentence: str
) -> None:
    """As other programs do, it says nothing if its reader has gone."""
    done = _demo_in_shell(tmp_path, redirection)
    assert done.returncode == 1
    assert done.stderr == sentence


def test_ctrl_c_while_lines_of_a_pipe_are_answered_is_no_success(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox.demo", *FIXTURES, "--folder", str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as demo:
        assert demo.stdin and demo.stdout
        try:
            demo.stdin.write("file /nowhere.ogg\n")
            assert any(line.startswith("/nowhere.ogg") for line in demo.stdout)
            demo.send_signal(signal.SIGINT)
            assert demo.stdout.read().endswith("Stopping.\n")
            assert demo.wait(60) == 128 + signal.SIGINT
        finally:
            demo.kill()


def test_at_the_prompt_it_ends_when_its_reader_has_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox.demo", *FIXTURES, "--folder", str(tmp_path)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as demo:
        assert demo.stdin and demo.stdout and demo.stderr
        try:
            assert any(line.startswith("  quit") for line in demo.stdout)
            demo.stdout.close()
            demo.stdin.write("hello\n")
            assert demo.wait(60) > 0
            assert demo.stderr.read() == ""
        finally:
            demo.kill()


def _demo_in_shell(folder: Path, redirection: str) -> subprocess.CompletedProcess[str]:
    """One turn, with a shell's redirection such as ``> file``."""
    command = [sys.executable, "-m", "sandbox.demo", *FIXTURES, "--once", "--folder", str(folder)]
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shlex.join(command)} {redirection}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_the_turn_of_a_killed_worker_is_answered_once(tmp_path: Path) -> None:
    """The exit status is 0, and the killed worker and all checks are on the screen."""
    done = _demo(tmp_path, *FIXTURES, "--once", "--cluster", COLUMNS="72")
    assert done.returncode == 0, done.stdout + done.stderr
    pids = dict(re.findall(r"^  (\w+ \d) +PID (\d+)$", done.stdout, re.MULTILINE))
    assert sorted(pids) == ["web 1", "web 2", "worker 1", "worker 2"]
    killed = re.search(r"^kill -9 (\d+): (worker \d) is dead", done.stdout, re.MULTILINE)
    assert killed is not None
    assert pids[killed[2]] == killed[1]
    silence = re.search(rf"^Silence of {killed[2]} .* (\d+\.\d\d) s", done.stdout, re.MULTILINE)
    assert silence is not None
    assert float(silence[1]) > 8
    assert f"Starting {killed[2]} again" in done.stdout
    for check in (
        "Answers by text: 1,",
        "Answers by voice: 1",
        "Questions to the agent: 2,",
        "Workers in /health: 2, then 1, then 2",
        "/metrics of web 1: 1 received, 1 answered, 1 as text, 1 as voice",
        "/metrics of web 2: 1 received, 1 answered, 1 as text, 1 as voice",
    ):
        assert f"\n{check}" in done.stdout
    assert "Transcript: To register an electronic invoice" in done.stdout


def test_make_says_in_one_sentence_that_it_needs_the_package_index(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").write_text(PIP_FAILS)
    (venv / "bin/python").chmod(0o755)
    (venv / ".made").touch()
    done = subprocess.run(
        ["make", "demo", f"VENV={venv}"],
        cwd=ROOT,
        # Not the variables of the make that runs the tests.
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    sentence, *others = done.stderr.splitlines()
    assert sentence.startswith("The package index cannot be reached")
    assert sentence.endswith(f"{venv}/setup.log")
    assert all(line.startswith("make") for line in others)
    assert "Retrying" in (venv / "setup.log").read_text()
