"""What ``make soak`` measures, and when it fails."""

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
from sandbox.soak.footprint import Footprint, excesses
from sandbox.soak.load import Load, Unanswered
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
    """Turns, memory in MB, threads, descriptors, sockets and connections of each line."""
    return [tuple(map(float, row)) for row in ROW.findall(done.stdout)]


def test_a_short_soak_passes(tmp_path: Path) -> None:
    """So few turns do not fill every cache, so memory may grow by more."""
    done = soak(tmp_path / "soak", "--turns", "120", "--growth", "50")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row[0] for row in rows(done)] == [60, 120]
    for _, memory, threads, descriptors, sockets, connections in rows(done):
        assert memory > 50
        assert 2 <= threads <= 64
        assert descriptors > sockets > 0
        assert connections == 0
    assert "120 turns, each answered once" in done.stdout


def test_a_short_soak_fails_where_memory_does_not_shrink(tmp_path: Path) -> None:
    done = soak(tmp_path / "soak", "--turns", "60", "--growth", "-50")
    assert done.returncode == 1
    assert done.stderr.startswith("Failed: memory grew by ")


@pytest.mark.parametrize(
    ("last", "wrong"),
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
def test_what_grows_is_named(last: Footprint, wrong: list[str]) -> None:
    assert excesses(FIRST, last, growth=5.0) == wrong


@contextmanager
def answering(answers: Callable[[str], list[str]]) -> Iterator[Load]:
    """Users of a bot that gives these answers to a text."""
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
            yield Load(sandbox=sandbox, users=3)
        finally:
            server.stop()


def echo(text: str) -> list[str]:
    return [f"You said *{text}*. And more."]


def test_each_text_is_to_be_answered_once() -> None:
    with answering(echo) as load:
        load.write_together(range(3))
        load.write(range(3, 10), at_once=2)
        load.check()
        load.write(range(10, 13), at_once=2)
        load.check()


def test_an_answer_too_many_is_found() -> None:
    with answering(lambda text: echo(text) * (2 if text == "number 4" else 1)) as load:
        load.write(range(10), at_once=2)
        with pytest.raises(Unanswered, match=r"1 answered once too often.*number 4"):
            load.check()


def test_another_answer_is_found() -> None:
    with answering(lambda text: echo("number 5")) as load:
        load.write([4], at_once=1)
        with pytest.raises(Unanswered, match=r"1 not answered.*number 4"):
            load.check()


def test_a_missing_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.soak.load.PATIENCE", 0.2)
    with (
        answering(lambda text: [] if text == "number 4" else echo(text)) as load,
        pytest.raises(Unanswered, match="Nothing was answered"),
    ):
        load.write(range(10), at_once=10)


def test_a_breach_of_a_contract_is_found() -> None:
    with answering(lambda text: [*echo(text), "x" * 1600]) as load:
        load.write([1], at_once=1)
        with pytest.raises(Unanswered, match="1 against a contract, like 14103"):
            load.check()


@pytest.mark.parametrize(("descriptors", "wrong"), [(1020, 0), (1021, 1)])
def test_many_connections_come_and_go(descriptors: int, wrong: int) -> None:
    many = replace(FIRST, descriptors=1000)
    assert len(excesses(many, replace(many, descriptors=descriptors), growth=5.0)) == wrong
