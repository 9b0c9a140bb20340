"""The parts of ``make demo``: timeline, checks, comparison of voice answers, and screen."""

from __future__ import annotations

import io
import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.call_recorder import Call
from sandbox.demo import checks
from sandbox.demo.cluster_demo import KilledWorker, stages_around
from sandbox.demo.commands import parse_file
from sandbox.demo.round_trip import check_round_trip
from sandbox.demo.runs import KEPT_RUNS, run_folder
from sandbox.demo.screen import Screen
from sandbox.demo.timeline import PLAIN_BLOCKS, Stage, draw_timeline, format_seconds, stages_of
from sandbox.demo.turn import Turn
from sandbox.speech import Sound, Transcript
from sandbox.speech.codec import Codec
from sandbox.twilio.messages import Outbound

STAGES = [
    Stage("Webhook acknowledged", 0.0, 0.004),
    Stage("Transcription", 0.05, 0.75),
    Stage("A stage with a name that is much too long", 0.8, 12.345),
    Stage("Voice note fetched", 13.0, 0.002),
]


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


def test_a_repeated_call_is_a_stage_with_a_pause() -> None:
    calls = [_call("ask", 100.1, 100.2), _call("ask", 103.0, 103.5)]
    *_, agent = stages_of(Turn(sent=100.0, acknowledged=100.01, calls=calls))
    assert (agent.name, agent.start, agent.seconds) == ("Agent", *map(pytest.approx, (0.1, 3.4)))
    assert [*itertools.chain(*agent.calls)] == pytest.approx([0.1, 0.2, 3.0, 3.5])


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


@pytest.mark.parametrize("cached", [[0], [1], [2], [0, 1, 2]])
def test_a_text_of_which_the_bridge_had_a_piece_in_its_cache_is_not_known(
    cached: list[int],
) -> None:
    bodies = [
        {"text": "One.", "next_text": "Two."},
        {"text": "Two.", "previous_text": "One.", "next_text": "Three."},
        {"text": "Three.", "previous_text": "Two."},
    ]
    asked = [body for number, body in enumerate(bodies) if number not in cached]
    calls = [Call("elevenlabs", "speak", 1.0, {}, {"body": body}) for body in asked]
    assert Turn(sent=0.0, acknowledged=0.0, calls=calls).synthesized_text == ""


# What tiny.en made of complete answers, the worst of the help desk's.
HEARD = {
    "All right, invoice 2041 stays as it is.": "Alright, Envoy's 2041 stays as it is.",
    "Hello! What would you like to know about electronic invoices?": (
        "Hello, what would you like to know about electronic end voices?"
    ),
    "The QR code holds the invoice's unique number. Scan it with any phone.": (
        "The QR code holds the end voices unique number. Scan it with any phone."
    ),
    "Keep every invoice for five years. 6. Corrections. 1. Within 72 hours you can cancel it.": (
        "Keep every invoice for 5 years. Six corrections, one within seventy two hours you can"
        " cancel it."
    ),
}
ANSWER = "Log in, choose New Invoice, enter the buyer's tax number, sign and submit the invoice."


@pytest.mark.parametrize(("text", "transcript"), HEARD.items())
def test_a_complete_voice_answer_passes(codec: Codec, text: str, transcript: str) -> None:
    """A few misheard letters, and numbers in figures, are the model's."""
    assert _check(codec, text, transcript)


@pytest.mark.parametrize(
    "transcript",
    [
        "Log in, choose New Invoice, enter the buyer's tax number, sign",
        "enter the buyer's tax number, sign and submit the invoice. Log in, choose New Invoice",
        "Log in, choose New Invoice, enter the buyer's tax number, enter the buyer's tax number,"
        " sign and submit the invoice.",
        "Log in, choose New Invoice, and pass the QR code on to the buyer. Sign and submit it.",
        next(iter(HEARD.values())),
        "",
    ],
    ids=["cut off", "out of order", "a part twice", "another part", "another answer", "silent"],
)
def test_a_defective_voice_answer_does_not_pass(codec: Codec, transcript: str) -> None:
    assert not _check(codec, ANSWER, transcript)


def _check(codec: Codec, text: str, transcript: str) -> bool:
    audio = codec.encode(Sound(bytes(16_000), 16_000), "opus_48000_32")
    return check_round_trip(audio, text, speech=_FixedTranscript(transcript), codec=codec).passed


def test_a_voice_answer_that_is_no_audio_does_not_match(codec: Codec) -> None:
    result = check_round_trip(b"<html>", ANSWER, speech=_FixedTranscript(ANSWER), codec=codec)
    assert (result.transcript, result.match) == ("", 0.0)


@pytest.fixture(scope="module")
def codec() -> Codec:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    return Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())


class _FixedTranscript:
    """Speech that gives every recording the same transcript."""

    note = ""

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
    assert parse_file("file ~no-user/note.ogg") == Path("~no-user/note.ogg")
    assert parse_file("file it's missing.ogg") == Path("it's missing.ogg")
    for line in ("", "What's new?", "How do I file an invoice?", str(tmp_path), "file"):
        assert parse_file(line) is None


def test_labelled_texts_are_wrapped_and_indented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal there are no colours and no status; URLs are not wrapped."""
    monkeypatch.setenv("COLUMNS", "32")
    stream = io.StringIO()
    screen = Screen(stream)
    screen.labelled("Agent", "Some words that are too long.\nhttps://example.com/too-long-to-break")
    screen.show_status("Waiting")
    screen.entry("  quit", "stop; so does Ctrl-C in this terminal", 8)
    assert stream.getvalue().splitlines() == [
        "Agent: Some words that are too",
        "  long.",
        "  https://example.com/too-long-to-break",
        "  quit   stop; so does Ctrl-C in",
        "         this terminal",
    ]


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "shown"),
    [
        (
            _Terminal(),
            "\r\x1b[K\x1b[2mWaiting for a long time …\x1b[0m"
            "\r\x1b[KWaiting for a long time … 0.0 s\n",
        ),
        (io.StringIO(), "Waiting for a long time ... 0.0 s\n"),
    ],
    ids=["terminal", "file"],
)
def test_a_step_is_shown_while_it_lasts_and_then_how_long_it_took(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, shown: str
) -> None:
    """Only on a terminal, on one line of it; afterwards with its seconds."""
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sandbox.demo.screen.time.monotonic", lambda: 5.0)
    with Screen(stream).step("Waiting for a long time"):
        pass
    assert stream.getvalue() == shown


def test_nothing_is_printed_on_a_closed_screen() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.line("Stopping.")
    screen.close()
    screen.line("The bridge does not answer any more.")
    assert stream.getvalue() == "Stopping.\n"


def test_each_run_has_a_folder_and_the_oldest_are_removed(tmp_path: Path) -> None:
    """Runs that still last keep theirs, and so does everything else in the folder."""
    (tmp_path / "my-recordings").mkdir()
    with run_folder(tmp_path) as lasting:
        os.utime(lasting, (0, 0))
        ended = [tmp_path / f"2026-01-01_00-00-{second}" for second in range(10, 10 + KEPT_RUNS)]
        for number, folder in enumerate(ended, start=1):
            folder.mkdir()
            os.utime(folder, (number, number))
        with run_folder(tmp_path) as own:
            left = set(tmp_path.iterdir())
    assert left == {tmp_path / "my-recordings", lasting, own, *ended[1:]}
