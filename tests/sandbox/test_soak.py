"""The soak test: its measurements, and when it fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask, Response, request
from twilio.twiml.messaging_response import MessagingResponse

from sandbox import Sandbox
from sandbox.bridge import ROOT
from sandbox.loopback import LoopbackServer
from sandbox.soak.footprint import Footprint, find_growth
from sandbox.soak.load import LoadGenerator, SoakFailed
from sandbox.speech.fixture import FixtureSpeech

pytestmark = pytest.mark.slow

FIRST = Footprint(memory=200 << 20, threads=500, descriptors=100, sockets=90, connections=14)
ROW = re.compile(r"^ +(\d+) +[\d.]+ +([\d.]+) MB +(\d+) +(\d+) +(\d+) +(\d+)$", re.MULTILINE)


def soak(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox.soak", "--folder", str(folder), *options],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def rows(done: subprocess.CompletedProcess[str]) -> list[tuple[float, ...]]:
    """Each line's turns, memory in MB, threads, descriptors, sockets and connections."""
    return [tuple(map(float, row)) for row in ROW.findall(done.stdout)]


def test_a_short_soak_passes(tmp_path: Path) -> None:
    """With so few turns memory may grow by more, because caches are still filling."""
    done = soak(tmp_path / "soak", "--turns", "120", "--growth", "50")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row[0] for row in rows(done)] == [60, 120]
    for _, memory, threads, descriptors, sockets, connections in rows(done):
        assert memory > 50
        assert 2 <= threads <= 64
        assert descriptors > sockets > 0
        assert connections == 0
    assert "120 turns, each answered once" in done.stdout


def test_it_fails_if_memory_grows_by_more_than_is_allowed(tmp_path: Path) -> None:
    """With a negative limit, memory that does not shrink is too much."""
    done = soak(tmp_path / "soak", "--turns", "60", "--growth", "-50")
    assert done.returncode == 1
    assert done.stderr.startswith("Failed: memory grew by ")


@pytest.mark.parametrize(
    ("last", "growth"),
    [
        (FIRST, []),
        (replace(FIRST, memory=209 << 20, descriptors=105, connections=16), []),
        (replace(FIRST, memory=100 << 20, threads=1, descriptors=1, connections=1), []),
        (replace(FIRST, memory=210 << 20), ["memory grew by 5.0 %"]),
        (replace(FIRST, threads=501), ["threads grew from 500 to 501"]),
        (replace(FIRST, descriptors=106), ["descriptors grew from 100 to 106"]),
        (replace(FIRST, connections=17), ["connections grew from 14 to 17"]),
    ],
)
def test_resources_that_grow_too_much_are_named(last: Footprint, growth: list[str]) -> None:
    assert find_growth(FIRST, last, memory_percent=5.0) == growth


@contextmanager
def load_on_bot(answers: Callable[[str], list[str]]) -> Iterator[LoadGenerator]:
    """A load generator, and a bot that answers each text with ``answers(text)``."""
    app = Flask("bot")

    @app.post("/")
    def webhook() -> Response:
        reply = MessagingResponse()
        for answer in answers(request.form["Body"]):
            reply.message(answer)
        return Response(str(reply), mimetype="text/xml")

    server = LoopbackServer(app=app, name="bot")
    server.start()
    with Sandbox(speech=FixtureSpeech()) as sandbox:
        sandbox.connect(f"http://127.0.0.1:{server.port}")
        try:
            yield LoadGenerator(sandbox=sandbox, users=3)
        finally:
            server.stop()


def echo(text: str) -> list[str]:
    return [f"You said *{text}*. And more."]


def test_one_answer_to_each_text_passes() -> None:
    with load_on_bot(echo) as load:
        load.warm_up(range(3))
        load.write(range(3, 10), at_once=2)
        load.check()
        load.write(range(10, 13), at_once=2)
        load.check()


def test_a_duplicate_answer_is_found() -> None:
    with load_on_bot(lambda text: echo(text) * (2 if text == "number 4" else 1)) as load:
        load.write(range(10), at_once=2)
        with pytest.raises(SoakFailed, match=r"1 answered once too often.*number 4"):
            load.check()


def test_a_wrong_answer_is_found() -> None:
    with load_on_bot(lambda text: echo("number 5")) as load:
        load.write([4], at_once=1)
        with pytest.raises(SoakFailed, match=r"1 not answered.*number 4"):
            load.check()


def test_a_missing_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.soak.load.TIMEOUT_SECONDS", 0.2)
    with (
        load_on_bot(lambda text: [] if text == "number 4" else echo(text)) as load,
        pytest.raises(SoakFailed, match="Nothing was answered"),
    ):
        load.write(range(10), at_once=10)


def test_a_violation_is_found() -> None:
    with load_on_bot(lambda text: [*echo(text), "x" * 1600]) as load:
        load.write([1], at_once=1)
        with pytest.raises(SoakFailed, match="1 against a contract, like 14103"):
            load.check()


@pytest.mark.parametrize(("descriptors", "problems"), [(1020, 0), (1021, 1)])
def test_two_per_cent_more_descriptors_are_allowed(descriptors: int, problems: int) -> None:
    many = replace(FIRST, descriptors=1000)
    more = replace(many, descriptors=descriptors)
    assert len(find_growth(many, more, memory_percent=5.0)) == problems
