"""What a turn's CPU time goes to: ``python -m bench.turn_costs``, a minute.

Turns come one by one, each from somebody new, at the predecessor's pace. Booking costs some
itself, a tenth perhaps; look at the shares.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures.thread import _WorkItem
from pathlib import Path
from typing import Any

import psutil
from flask import Flask

from agentforce import Agentforce
from bench.accounts import Accounts
from bench.arrivals import Arrivals
from bench.bursts import Thrower
from bench.clouds import paced_clouds, set_pace
from bench.site import Site, one_process
from bench.table import Table
from database import Database
from narration import Narration
from recording import Recorder
from sandbox.bridge import ROOT
from sandbox.pace import PREDECESSOR
from signature import Signature
from speech import Speech
from web_worker import WebWorker
from whatsapp import WhatsApp

TURNS = 20
CONFIG = ROOT / "bench" / "accounted.py"
POLL_SECONDS = 0.05

Books = Mapping[str, tuple[float, int]]


def open_books() -> Accounts:
    """Book what is done in this process, a bridge's."""
    accounts = Accounts()
    for owner, methods, name in _parts():
        for method in methods:
            accounts.book(owner, method, name)
    return accounts


def costs(folder: Path) -> list[Table]:
    books = folder / "books"
    command = ("env", f"BOOKS={books}", "gunicorn", "-c", str(CONFIG), "app:create_app()")
    arrivals = Arrivals()
    try:
        with one_process(folder, clouds=paced_clouds, command=command) as site:
            thrower = Thrower(site, arrivals)
            thrower.voice_notes(2)
            set_pace(site.sandbox, PREDECESSOR)
            kinds = {"voice": thrower.voice_notes, "text": thrower.texts}
            return [_spent(site, books, kind, turn) for kind, turn in kinds.items()]
    finally:
        arrivals.close()


def _spent(site: Site, file: Path, kind: str, turn: Callable[[int], object]) -> Table:
    ffmpeg, before = _by_children(site), _read(site, file)
    for _ in range(TURNS):
        turn(1)
        time.sleep(POLL_SECONDS)
    after = _read(site, file)
    rows = {name: _row(before.get(name, (0.0, 0)), booked) for name, booked in after.items()}
    whole, _ = rows.pop("")
    rows["all else, gunicorn's event loop first"] = (whole - sum(ms for ms, _ in rows.values()), 0)
    rows["ffmpeg"] = ((_by_children(site) - ffmpeg) / TURNS * 1000, 0)
    rows["all"] = (sum(ms for ms, _ in rows.values()), 0)
    dearest = sorted(rows.items(), key=lambda row: -row[1][0])
    return Table(f"CPU time of a {kind} turn", ("ms", "calls"), dict(dearest))


def _row(before: tuple[float, int], after: tuple[float, int]) -> tuple[float, float]:
    return (after[0] - before[0]) / TURNS * 1000, (after[1] - before[1]) / TURNS


def _read(site: Site, file: Path) -> Books:
    """The books of the one process that serves."""
    file.unlink(missing_ok=True)
    _worker(site).send_signal(signal.SIGUSR2)
    while not file.exists():
        time.sleep(POLL_SECONDS)
    books: Books = json.loads(file.read_text(encoding="utf-8"))
    return books


def _by_children(site: Site) -> float:
    """CPU seconds of what it ran and that has ended."""
    times = _worker(site).cpu_times()
    return float(times.children_user + times.children_system)


def _worker(site: Site) -> psutil.Process:
    (web,) = site.webs
    return max(psutil.Process(web.pid).children(recursive=True), key=lambda each: each.pid)


def _parts() -> list[tuple[Any, tuple[str, ...], str]]:
    """What is booked: methods of a class, and the name for them."""
    return [
        (WebWorker, ("handle",), "serving HTTP: gunicorn's threads"),
        (Flask, ("wsgi_app",), "serving HTTP: Flask and ours"),
        (Signature, ("check",), "Twilio's signature"),
        (Database, ("run",), "database"),
        (Agentforce, ("start", "ask"), "agent"),
        (Narration, ("write", "finish", "note"), "cutting and joining speech"),
        (Speech, ("speak",), "speaking"),
        (Speech, ("transcribe",), "hearing"),
        (Recorder, ("hear",), "fetching the recording, feeding ffmpeg"),
        (WhatsApp, ("send_text", "send_voice"), "sending"),
        (WhatsApp, ("show_typing",), "typing indicator"),
        (_WorkItem, ("run",), "turn, all else"),
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for table in costs(Path(folder)):
            print(table, end="\n\n")
