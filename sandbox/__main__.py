"""``python -m sandbox``: the stand-ins on fixed ports until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from sandbox import PORTS, Sandbox
from sandbox.agentforce.helpdesk import HelpdeskError
from sandbox.latency import LATENCY_PROFILES
from sandbox.speech import Speech
from sandbox.speech.fixture import FixtureSpeech
from sandbox.speech.local import LocalSpeech
from sandbox.speech.models import ModelsMissing


def main() -> None:
    try:
        _run(_arguments())
    except (HelpdeskError, ModelsMissing) as error:
        sys.exit(str(error))


def _run(arguments: argparse.Namespace) -> None:
    with (
        _speech(arguments.speech) as speech,
        Sandbox(
            latency=LATENCY_PROFILES[arguments.latency],
            speech=speech,
            ports={name: arguments.port + place for place, name in enumerate(PORTS)},
            ffmpeg=os.environ.get("FFMPEG_PATH"),
        ) as sandbox,
    ):
        sandbox.connect(arguments.bridge)
        ended = _told_to_end()
        for name, value in sandbox.environment(arguments.bridge).items():
            print(f"{name}={value}", flush=True)
        print(f"Control: {sandbox.control.url}. Ctrl-C stops.", file=sys.stderr)
        ended.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--latency", choices=sorted(LATENCY_PROFILES), default="instant")
    parser.add_argument("--speech", choices=["real", "fixtures"], default="real")
    parser.add_argument(
        "--bridge", metavar="URL", default="http://127.0.0.1:5000", help="where the bridge listens"
    )
    parser.add_argument(
        "--port", type=int, metavar="N", default=PORTS["control"], help="the first of five in a row"
    )
    return parser.parse_args()


@contextlib.contextmanager
def _speech(kind: str) -> Iterator[Speech]:
    if kind == "fixtures":
        yield FixtureSpeech()
        return
    with contextlib.closing(LocalSpeech()) as speech:
        yield speech


def _told_to_end() -> threading.Event:
    ended = threading.Event()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: ended.set())
    return ended


if __name__ == "__main__":
    main()
