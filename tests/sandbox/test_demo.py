"""What a person sees and gets from ``make demo``."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sandbox.bridge import ROOT
from sandbox.call_recorder import Call
from sandbox.demo import findings
from sandbox.demo.cluster_demo import Death, stages_around
from sandbox.demo.prompt import dropped_file
from sandbox.demo.round_trip import check_round_trip
from sandbox.demo.screen import Screen
from sandbox.demo.timeline import PLAIN_BLOCKS, Stage, drawn, stages_of, told
from sandbox.demo.turn import Turn
from sandbox.speech import Sound, Transcript, models
from sandbox.speech.codec import Codec
from sandbox.twilio.messages import Outbound
from tests.sandbox.waiting import wait_until, wait_until_ended

STAGES = [
    Stage("Webhook acknowledged", 0.0, 0.004),
    Stage("Transcription", 0.05, 0.75),
    Stage("A stage with a name that is much too long", 0.8, 12.345),
    Stage("Voice note fetched", 13.0, 0.002),
]


@pytest.fixture
def models_installed() -> None:
    try:
        models.whisper()
        models.voice()
    except models.ModelsMissing as missing:
        pytest.skip(str(missing))


def _demo(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox.demo", "--once", "--folder", str(folder), *options],
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.speech
@pytest.mark.usefixtures("models_installed")
def test_the_spoken_answer_comes_back_and_is_understood(tmp_path: Path) -> None:
    """Exit code 0, and everything a person wants to know is on the screen."""
    done = _demo(tmp_path, COLUMNS="60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "You said: How do I register an electronic invoice?" in done.stdout
    assert "Agent: To register an electronic invoice, log in" in done.stdout
    for stage in ("Webhook acknowledged", "Transcription", "Agent ", "Voice note fetched"):
        assert f"\n{stage}" in done.stdout
    assert re.search(
        r"Voice answer:\s+\S+/answer-1\.ogg\s+\(2\d\.\d\s+s,\s+\d+\s+KB\)", done.stdout
    )
    assert (tmp_path / "answer-1.ogg").read_bytes().startswith(b"OggS")
    assert "Transcript again as: To register an electronic invoice" in done.stdout
    lines = [line for line in done.stdout.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 60
    assert "\x1b" not in done.stdout


@pytest.mark.speech
@pytest.mark.usefixtures("models_installed")
def test_no_spoken_answer_is_a_failure(tmp_path: Path) -> None:
    """Exit code 1 and a sentence that says so, with the end of the bridge's log."""
    fault = json.dumps({"service": "elevenlabs", "call": "speak", "status": 401, "times": None})
    done = _demo(tmp_path, "--fault", fault)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Agent: To register" in done.stdout
    assert "could not be spoken or sent" in " ".join(done.stdout.split())
    assert "bridge.log" in done.stdout
    assert "Voice answer:" not in done.stdout


@pytest.mark.speech
@pytest.mark.usefixtures("models_installed")
def test_a_killed_worker_is_told_of_and_its_turn_answered_once(tmp_path: Path) -> None:
    """Exit code 0, and who was killed, what it cost and what was counted are on the screen."""
    done = _demo(tmp_path, "--cluster", COLUMNS="72")
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
    for finding in (
        "Answers by text: 1,",
        "Answers by voice: 1",
        "Questions to the agent: 2,",
        "Workers in /health: 2, then 1, then 2",
        "/metrics of web 1: 1 received, 1 answered, 1 as text, 1 as voice",
        "/metrics of web 2: 1 received, 1 answered, 1 as text, 1 as voice",
    ):
        assert f"\n{finding}" in done.stdout
    assert "Transcript again as: To register an electronic invoice" in done.stdout


@pytest.fixture
def running_demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.demo", "--folder", str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.speech
@pytest.mark.usefixtures("models_installed")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_answers_and_leaves_nothing_behind(
    running_demo: subprocess.Popen[str], kind: signal.Signals
) -> None:
    """A typed line is answered; whoever stops the demo stops its processes too."""
    assert running_demo.stdin is not None
    running_demo.stdin.write("How do I cancel an invoice?\n")
    running_demo.stdin.flush()
    _read_until(running_demo, "Agent: I can ask for the cancellation")
    family = _family(running_demo)
    assert len(family) >= 3
    running_demo.send_signal(kind)
    assert running_demo.wait(60) == 0
    wait_until_ended(family)


def _read_until(process: subprocess.Popen[str], wanted: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if wanted in line:
            return
    pytest.fail("".join(seen))


def _family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The bridge, its worker and Piper, which ends by itself once its pipe does."""
    found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return found


@pytest.mark.speech
@pytest.mark.usefixtures("models_installed")
def test_stopping_early_leaves_nothing_behind(running_demo: subprocess.Popen[str]) -> None:
    """Also while the bridge is starting, or in the middle of the turn."""
    wait_until(lambda: len(_family(running_demo)) >= 2, "the bridge and Piper")
    family = _family(running_demo)
    running_demo.send_signal(signal.SIGINT)
    assert running_demo.wait(60) == 130
    wait_until_ended(family)


@pytest.mark.parametrize("width", [30, 39, 40, 53, 54, 60, 72])
def test_the_timeline_fits(width: int) -> None:
    """No line is longer than the terminal; every stage keeps its line and its duration."""
    lines = drawn(STAGES, width)
    assert all(len(line) <= width for line in lines)
    for stage, line in zip(STAGES, lines[-len(STAGES) :], strict=True):
        assert line.startswith(stage.name[:22].rstrip())
        assert told(stage.seconds) in line


def test_a_bar_lies_where_its_stage_lies() -> None:
    """The longest fills the end of the row, a stage of no time at all is still seen."""
    halves = [Stage("First", 0.0, 1.0), Stage("Second", 1.0, 1.0), Stage("End", 1.99, 0.0)]
    bars = [line[42:] for line in drawn(halves, 62, blocks=PLAIN_BLOCKS)[1:]]
    assert bars == ["#" * 10, " " * 10 + "#" * 10, " " * 19 + "#"]


def test_nothing_is_drawn_of_nothing() -> None:
    assert len(drawn([], 72)) == 1


def test_durations_are_told_as_people_say_them() -> None:
    assert [told(0.0), told(0.0044), told(0.9994), told(0.9996)] == [
        "0 ms",
        "4 ms",
        "999 ms",
        "1.00 s",
    ]


def test_stages_are_read_off_the_ledger() -> None:
    """The text's sending is told from the voice note's; what did not happen is left out."""
    turn = Turn(
        sent=100.0,
        acknowledged=100.01,
        calls=[
            _call("media", 100.1, 100.2),
            _call("media_cdn", 100.2, 100.4),
            _call("transcribe", 100.5, 101.5),
            _call("send", 101.9, 102.0),
            _call("speak", 102.1, 104.0),
            _call("speak", 102.1, 103.0),
            _call("send", 104.1, 104.3),
        ],
        texts=[_message("Hello", at=101.95)],
        voice=_message("", at=104.2),
        fetched=104.5,
    )
    found = {each.name: (each.start, each.seconds) for each in stages_of(turn)}
    assert found == {
        "Webhook acknowledged": pytest.approx((0.0, 0.01)),
        "Download": pytest.approx((0.1, 0.3)),
        "Convert": pytest.approx((0.4, 0.1)),
        "Transcription": pytest.approx((0.5, 1.0)),
        "Text sent": pytest.approx((1.9, 0.1)),
        "Speech, 2 calls": pytest.approx((2.1, 1.9)),
        "Voice note fetched": pytest.approx((4.2, 0.3)),
    }


def test_what_a_worker_did_before_its_death_is_told_from_what_another_did() -> None:
    turn = Turn(
        sent=100.0,
        acknowledged=100.01,
        calls=[
            _call("typing", 100.1, 100.2),
            _call("ask", 100.5, 108.5),
            _call("typing", 113.0, 113.1),
            _call("ask", 113.5, 114.0),
            _call("send", 114.0, 114.1),
        ],
        texts=[_message("Hello", at=114.05)],
    )
    stages = stages_around(turn, Death("worker 2", at=101.0))
    assert [(each.name, each.start, each.seconds) for each in stages] == [
        ("Webhook acknowledged", 0.0, pytest.approx(0.01)),
        ("Typing shown", pytest.approx(0.1), pytest.approx(0.1)),
        ("Agent", 0.5, 8.0),
        ("Silence of worker 2", 1.0, 12.0),
        ("Typing shown", 13.0, pytest.approx(0.1)),
        ("Agent", 13.5, 0.5),
        ("Text sent", 14.0, pytest.approx(0.1)),
    ]
    # Nobody took it up.
    alone = stages_around(replace(turn, calls=turn.calls[:2], texts=[]), Death("worker 2", 101.0))
    assert [each.name for each in alone][-1] == "Silence of worker 2"


NOTICE = "I'm still working on your answer, one moment please."


@pytest.mark.parametrize(
    ("texts", "voices", "holds"),
    [
        (["Hello"], 1, [True, True]),
        ([NOTICE, "Hello"], 1, [True, True]),
        (["Hello", "Hello"], 1, [False, True]),
        (["Hello"], 2, [True, False]),
        ([NOTICE], 0, [False, False]),
    ],
    ids=["once", "late", "two texts", "two voice notes", "nothing"],
)
def test_once_is_once(texts: list[str], voices: int, holds: list[bool]) -> None:
    messages = [_message(text, at=1.0) for text in texts]
    messages += [replace(_message("", at=2.0), media_url="http://x/1.ogg")] * voices
    assert [finding.holds for finding in findings.sent(messages)] == holds


def test_findings_do_not_hold_where_nothing_was_found() -> None:
    assert not findings.asked(1).holds
    assert not findings.counted("web 1", {}).holds
    assert not findings.workers([{}, {}], [2, 1]).holds
    unwell = {"healthy": False, "workers": 2}
    assert not findings.workers([unwell], [2]).holds
    assert findings.workers([unwell | {"healthy": True}], [2]).holds


def _call(name: str, at: float, ended: float) -> Call:
    return Call("some provider", name, at, {}, ended=ended)


def _message(body: str, *, at: float) -> Outbound:
    return Outbound("SM1", "whatsapp:+15550100", "whatsapp:+14155238886", body, at=at)


def test_pieces_are_put_in_the_order_of_the_answer() -> None:
    """They are spoken side by side, and one was tried twice."""
    bodies = [
        {"text": "Two.", "previous_text": "One.", "next_text": "Three."},
        {"text": "One.", "next_text": "Two."},
        {"text": "Three.", "previous_text": "Two."},
        {"text": "Two.", "previous_text": "One.", "next_text": "Three."},
    ]
    calls = [Call("elevenlabs", "speak", 1.0, {}, {"body": body}) for body in bodies]
    assert Turn(sent=0.0, acknowledged=0.0, calls=calls).spoken == "One.\nTwo.\nThree."
    assert Turn(sent=0.0, acknowledged=0.0).spoken == ""


SPOKEN = "Log in, choose New Invoice, enter the buyer's tax number, sign and submit the invoice."


@pytest.mark.parametrize(
    ("heard", "understood"),
    [
        ("Log in, choose new envoice. Enter the buyers tax number. Sign and submit invoice.", True),
        ("Log in, choose new invoice, enter the buyer's", False),
        ("enter the buyer's tax number, sign and submit the invoice. Log in, choose", False),
        (f"{SPOKEN} {SPOKEN}", False),
        ("", False),
    ],
    ids=["misheard", "cut off", "out of order", "twice", "silent"],
)
def test_a_spoken_answer_must_be_whole(codec: Codec, heard: str, understood: bool) -> None:
    """A few misheard words are the recogniser's; what lacks or doubles is the bridge's."""
    audio = codec.encode(Sound(bytes(16_000), 16_000), "opus_48000_32")
    again = check_round_trip(audio, SPOKEN, speech=_Deaf(heard), codec=codec)
    assert again.understood is understood


def test_what_is_no_audio_is_not_understood(codec: Codec) -> None:
    again = check_round_trip(b"<html>", SPOKEN, speech=_Deaf(SPOKEN), codec=codec)
    assert (again.text, again.match) == ("", 0.0)


@pytest.fixture(scope="module")
def codec() -> Codec:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    return Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())


class _Deaf:
    """Hears the same in everything."""

    def __init__(self, text: str) -> None:
        self._heard = Transcript(text)

    def transcribe(self, pcm: bytes) -> Transcript:
        return self._heard

    def synthesize(self, text: str, language: str | None) -> Sound:
        raise NotImplementedError


def test_a_file_is_told_from_a_line(tmp_path: Path) -> None:
    """Terminals drop a path quoted, escaped or as an address."""
    note = tmp_path / "my note.ogg"
    note.touch()
    for line in (
        f"file {note}",
        f"file '{note}'",
        f"'{note}'",
        str(note).replace(" ", "\\ "),
        f"file://{tmp_path}/my%20note.ogg",
    ):
        assert dropped_file(line) == note
    assert dropped_file("file it's missing.ogg") == Path("it's missing.ogg")
    for line in ("", "What's new?", "How do I file an invoice?", str(tmp_path), "file"):
        assert dropped_file(line) is None


def test_texts_are_wrapped_under_their_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal there are no colours and no prompt; addresses stay whole."""
    monkeypatch.setenv("COLUMNS", "32")
    stream = io.StringIO()
    screen = Screen(stream)
    screen.labelled("Agent", "Some words that are too long.\nhttps://example.com/too-long-to-break")
    screen.prompt("> ")
    assert stream.getvalue().splitlines() == [
        "Agent: Some words that are too",
        "  long.",
        "  https://example.com/too-long-to-break",
    ]


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "what", "shown"),
    [
        (_Terminal(), "Waiting", "Waiting … 0 s\b\b\b0.0 s\n"),
        (_Terminal(), "Waiting for a very long time", "Waiting for a very long time … 0.0 s\n"),
        (io.StringIO(), "Waiting", "Waiting … 0.0 s\n"),
    ],
    ids=["terminal", "narrow terminal", "file"],
)
def test_a_step_shows_its_seconds_while_it_lasts(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, what: str, shown: str
) -> None:
    """On a terminal, and not where it would have to go back over the end of a line."""
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr("sandbox.demo.screen.time.monotonic", lambda: 5.0)
    with Screen(stream).step(what) as so_far:
        so_far()
    assert stream.getvalue() == shown
