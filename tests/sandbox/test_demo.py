"""``make demo``: its output, its exit status, and its parts."""

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
from sandbox.demo import checks
from sandbox.demo.cluster_demo import KilledWorker, stages_around
from sandbox.demo.prompt import parse_file
from sandbox.demo.round_trip import check_round_trip
from sandbox.demo.screen import Screen
from sandbox.demo.timeline import PLAIN_BLOCKS, Stage, draw_timeline, format_seconds, stages_of
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
def test_a_voice_note_gets_a_voice_answer_that_can_be_understood(tmp_path: Path) -> None:
    """The exit status is 0, and timeline, transcripts and answers are on the screen."""
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
    assert "Transcript: To register an electronic invoice" in done.stdout
    lines = [line for line in done.stdout.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 60
    assert "\x1b" not in done.stdout


@pytest.mark.speech
@pytest.mark.usefixtures("models_installed")
def test_a_missing_voice_answer_is_a_failure(tmp_path: Path) -> None:
    """The exit status is 1, and the reason and the end of the bridge's log are on the screen."""
    fault = json.dumps({"service": "elevenlabs", "call": "speak", "status": 401, "times": None})
    done = _demo(tmp_path, "--fault", fault)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Agent: To register" in done.stdout
    assert "could not be spoken or sent" in " ".join(done.stdout.split())
    assert "bridge.log" in done.stdout
    assert "Voice answer:" not in done.stdout


@pytest.mark.speech
@pytest.mark.usefixtures("models_installed")
@pytest.mark.slow
def test_the_turn_of_a_killed_worker_is_answered_once(tmp_path: Path) -> None:
    """The exit status is 0, and the killed worker and all checks are on the screen."""
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
@pytest.mark.parametrize(
    "stop_signal", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_it_answers_typed_lines_until_it_is_stopped_with_all_its_processes(
    running_demo: subprocess.Popen[str], stop_signal: signal.Signals
) -> None:
    assert running_demo.stdin is not None
    running_demo.stdin.write("How do I cancel an invoice?\n")
    running_demo.stdin.flush()
    _read_until(running_demo, "Agent: I can ask for the cancellation")
    children = _children(running_demo)
    assert len(children) >= 3
    running_demo.send_signal(stop_signal)
    assert running_demo.wait(60) == 0
    wait_until_ended(children)


def _read_until(process: subprocess.Popen[str], wanted: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if wanted in line:
            return
    pytest.fail("".join(seen))


def _children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of the bridge, and Piper."""
    children: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return children


@pytest.mark.speech
@pytest.mark.usefixtures("models_installed")
def test_it_stops_all_its_processes_when_it_is_stopped_early(
    running_demo: subprocess.Popen[str],
) -> None:
    """While the bridge is starting, or in the middle of the turn."""
    wait_until(lambda: len(_children(running_demo)) >= 2, "the bridge and Piper")
    children = _children(running_demo)
    running_demo.send_signal(signal.SIGINT)
    assert running_demo.wait(60) == 130
    wait_until_ended(children)


@pytest.mark.parametrize("width", [30, 39, 40, 53, 54, 60, 72])
def test_the_timeline_fits(width: int) -> None:
    """No line is longer than the terminal, and each stage has a line with its duration."""
    lines = draw_timeline(STAGES, width)
    assert all(len(line) <= width for line in lines)
    for stage, line in zip(STAGES, lines[-len(STAGES) :], strict=True):
        assert line.startswith(stage.name[:22].rstrip())
        assert format_seconds(stage.seconds) in line


def test_bars_show_start_and_duration_of_their_stages() -> None:
    """A stage without duration still has a visible bar."""
    halves = [Stage("First", 0.0, 1.0), Stage("Second", 1.0, 1.0), Stage("End", 1.99, 0.0)]
    bars = [line[42:] for line in draw_timeline(halves, 62, blocks=PLAIN_BLOCKS)[1:]]
    assert bars == ["#" * 10, " " * 10 + "#" * 10, " " * 19 + "#"]


def test_a_timeline_without_stages_is_a_header() -> None:
    assert len(draw_timeline([], 72)) == 1


def test_durations_below_a_second_are_in_milliseconds() -> None:
    assert [
        format_seconds(0.0),
        format_seconds(0.0044),
        format_seconds(0.9994),
        format_seconds(0.9996),
    ] == [
        "0 ms",
        "4 ms",
        "999 ms",
        "1.00 s",
    ]


def test_stages_are_derived_from_the_recorded_calls() -> None:
    """The sends of text and voice note are distinguished; missing stages are left out."""
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


def test_the_timeline_of_a_killed_worker_shows_both_attempts() -> None:
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
    stages = stages_around(turn, KilledWorker("worker 2", at=101.0))
    assert [(each.name, each.start, each.seconds) for each in stages] == [
        ("Webhook acknowledged", 0.0, pytest.approx(0.01)),
        ("Typing shown", pytest.approx(0.1), pytest.approx(0.1)),
        ("Agent", 0.5, 8.0),
        ("Silence of worker 2", 1.0, 12.0),
        ("Typing shown", 13.0, pytest.approx(0.1)),
        ("Agent", 13.5, 0.5),
        ("Text sent", 14.0, pytest.approx(0.1)),
    ]
    # No other worker took the turn over.
    alone = stages_around(
        replace(turn, calls=turn.calls[:2], texts=[]), KilledWorker("worker 2", 101.0)
    )
    assert [each.name for each in alone][-1] == "Silence of worker 2"


NOTICE = "I'm still working on your answer, one moment please."


@pytest.mark.parametrize(
    ("texts", "voice_notes", "passed"),
    [
        (["Hello"], 1, [True, True]),
        ([NOTICE, "Hello"], 1, [True, True]),
        (["Hello", "Hello"], 1, [False, True]),
        (["Hello"], 2, [True, False]),
        ([NOTICE], 0, [False, False]),
    ],
    ids=["once", "late", "two texts", "two voice notes", "nothing"],
)
def test_exactly_one_answer_of_each_kind_passes(
    texts: list[str], voice_notes: int, passed: list[bool]
) -> None:
    messages = [_message(text, at=1.0) for text in texts]
    messages += [replace(_message("", at=2.0), media_url="http://x/1.ogg")] * voice_notes
    assert [check.passed for check in checks.check_answers(messages)] == passed


def test_checks_fail_without_data() -> None:
    assert not checks.check_questions(1).passed
    assert not checks.check_counters("web 1", {}).passed
    assert not checks.check_workers([{}, {}], [2, 1]).passed
    unwell = {"healthy": False, "workers": 2}
    assert not checks.check_workers([unwell], [2]).passed
    assert checks.check_workers([unwell | {"healthy": True}], [2]).passed


def _call(name: str, at: float, ended: float) -> Call:
    return Call("some provider", name, at, {}, ended=ended)


def _message(body: str, *, at: float) -> Outbound:
    return Outbound("SM1", "whatsapp:+15550100", "whatsapp:+14155238886", body, at=at)


def test_synthesized_pieces_are_put_in_the_order_of_the_answer() -> None:
    """They are synthesized in parallel, and one of them twice."""
    bodies = [
        {"text": "Two.", "previous_text": "One.", "next_text": "Three."},
        {"text": "One.", "next_text": "Two."},
        {"text": "Three.", "previous_text": "Two."},
        {"text": "Two.", "previous_text": "One.", "next_text": "Three."},
    ]
    calls = [Call("elevenlabs", "speak", 1.0, {}, {"body": body}) for body in bodies]
    turn = Turn(sent=0.0, acknowledged=0.0, calls=calls)
    assert turn.synthesized_text == "One.\nTwo.\nThree."
    assert Turn(sent=0.0, acknowledged=0.0).synthesized_text == ""


ANSWER = "Log in, choose New Invoice, enter the buyer's tax number, sign and submit the invoice."


@pytest.mark.parametrize(
    ("transcript", "passed"),
    [
        ("Log in, choose new envoice. Enter the buyers tax number. Sign and submit invoice.", True),
        ("Log in, choose new invoice, enter the buyer's", False),
        ("enter the buyer's tax number, sign and submit the invoice. Log in, choose", False),
        (f"{ANSWER} {ANSWER}", False),
        ("", False),
    ],
    ids=["misheard", "cut off", "out of order", "twice", "silent"],
)
def test_a_voice_answer_must_be_complete(codec: Codec, transcript: str, passed: bool) -> None:
    """A few wrong words may be the model's fault; missing or repeated ones are the bridge's."""
    audio = codec.encode(Sound(bytes(16_000), 16_000), "opus_48000_32")
    result = check_round_trip(audio, ANSWER, speech=_FixedTranscript(transcript), codec=codec)
    assert result.passed is passed


def test_a_voice_answer_that_is_no_audio_does_not_match(codec: Codec) -> None:
    result = check_round_trip(b"<html>", ANSWER, speech=_FixedTranscript(ANSWER), codec=codec)
    assert (result.transcript, result.match) == ("", 0.0)


@pytest.fixture(scope="module")
def codec() -> Codec:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    return Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())


class _FixedTranscript:
    """Speech that gives every recording the same transcript."""

    def __init__(self, text: str) -> None:
        self._transcript = Transcript(text)

    def transcribe(self, pcm: bytes) -> Transcript:
        return self._transcript

    def synthesize(self, text: str, language: str | None) -> Sound:
        raise NotImplementedError


def test_a_file_is_distinguished_from_a_text(tmp_path: Path) -> None:
    """Terminals insert the path of a dropped file quoted, escaped or as a URL."""
    note = tmp_path / "my note.ogg"
    note.touch()
    for line in (
        f"file {note}",
        f"file '{note}'",
        f"'{note}'",
        str(note).replace(" ", "\\ "),
        f"file://{tmp_path}/my%20note.ogg",
    ):
        assert parse_file(line) == note
    assert parse_file("file it's missing.ogg") == Path("it's missing.ogg")
    for line in ("", "What's new?", "How do I file an invoice?", str(tmp_path), "file"):
        assert parse_file(line) is None


def test_labelled_texts_are_wrapped_and_indented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal there are no colours and no prompt; URLs are not wrapped."""
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
    """Only on a terminal, and only if the line is short enough."""
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr("sandbox.demo.screen.time.monotonic", lambda: 5.0)
    with Screen(stream).step(what) as show_elapsed:
        show_elapsed()
    assert stream.getvalue() == shown
