"""What a person sees and gets from ``make demo``."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.bridge import ROOT
from sandbox.demo.heard_again import hear_again
from sandbox.demo.prompt import dropped_file
from sandbox.demo.screen import Screen
from sandbox.demo.timeline import PLAIN_BLOCKS, Stage, drawn, stages_of, told
from sandbox.demo.turn import Turn
from sandbox.ledger import Call
from sandbox.speech import Heard, Sound, models
from sandbox.speech.codec import Codec
from sandbox.twilio.messages import Outbound

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
    assert "Heard again as: To register an electronic invoice" in done.stdout
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
    family = _descendants(running_demo.pid)
    assert len(family) >= 3
    running_demo.send_signal(kind)
    assert running_demo.wait(60) == 0
    _wait_until_gone(family)


def _wait_until_gone(family: list[int]) -> None:
    """Piper ends by itself once its pipe does, which may be a moment after the demo."""
    deadline = time.monotonic() + 30
    while left := [pid for pid in family if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def _read_until(process: subprocess.Popen[str], wanted: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if wanted in line:
            return
    pytest.fail("".join(seen))


def _descendants(pid: int) -> list[int]:
    """The bridge, its worker and Piper."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for each in threads for child in (each / "children").read_text().split()]
    return children + [grandchild for child in children for grandchild in _descendants(child)]


@pytest.mark.speech
@pytest.mark.usefixtures("models_installed")
def test_stopping_early_leaves_nothing_behind(running_demo: subprocess.Popen[str]) -> None:
    """Also while the bridge is starting, or in the middle of the turn."""
    deadline = time.monotonic() + 60
    while len(family := _descendants(running_demo.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running_demo.send_signal(signal.SIGINT)
    assert running_demo.wait(60) == 130
    _wait_until_gone(family)


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


def _call(name: str, at: float, ended: float) -> Call:
    return Call("some cloud", name, at, {}, ended=ended)


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
    again = hear_again(audio, SPOKEN, speech=_Deaf(heard), codec=codec)
    assert again.understood is understood


def test_what_is_no_audio_is_not_understood(codec: Codec) -> None:
    again = hear_again(b"<html>", SPOKEN, speech=_Deaf(SPOKEN), codec=codec)
    assert (again.text, again.match) == ("", 0.0)


@pytest.fixture(scope="module")
def codec() -> Codec:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    return Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())


class _Deaf:
    """Hears the same in everything."""

    def __init__(self, text: str) -> None:
        self._heard = Heard(text)

    def hear(self, pcm: bytes) -> Heard:
        return self._heard

    def say(self, text: str, language: str | None) -> Sound:
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
