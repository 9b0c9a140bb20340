"""``python -m sandbox``: run the stand-ins on fixed ports until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from sandbox import PORTS, Sandbox
from sandbox.agentforce.helpdesk import HelpdeskError
from sandbox.latency import LATENCY_PROFILES
from sandbox.speech import Speech
from sandbox.speech.fixture import FixtureSpeech
from sandbox.speech.local import LocalSpeech, MultilingualSpeech
from sandbox.speech.models import ModelsMissing

NEXT_STEP = 'env $(cat FILE) .venv/bin/gunicorn "app:create_app()"'
# How soon Ctrl-C or SIGTERM is noticed at the latest.
WAKE_SECONDS = 1.0


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
            ports={name: arguments.port + offset for offset, name in enumerate(PORTS)},
            ffmpeg=os.environ.get("FFMPEG_PATH"),
        ) as sandbox,
    ):
        sandbox.connect(arguments.bridge)
        stopped = _stop_on_signals()
        for name, value in sandbox.environment(arguments.bridge).items():
            print(f"{name}={value}", flush=True)
        # gunicorn, which the Procfile starts, listens where PUBLIC_URL says.
        print(f"PORT={urlsplit(arguments.bridge).port or 80}", flush=True)
        print(
            f"Control: {sandbox.control.url}. "
            f"The bridge, with these settings from a file: {NEXT_STEP}. Ctrl-C stops.",
            file=sys.stderr,
        )
        # Python runs handlers in the main thread. A signal that arrives in another thread does not
        # wake that one, so it wakes by itself.
        while not stopped.wait(WAKE_SECONDS):
            pass


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--latency", choices=sorted(LATENCY_PROFILES), default="instant")
    parser.add_argument("--speech", choices=["real", "multilingual", "fixtures"], default="real")
    parser.add_argument(
        "--bridge", metavar="URL", default="http://127.0.0.1:5000", help="the address of the bridge"
    )
    parser.add_argument(
        "--port",
        type=int,
        metavar="N",
        default=PORTS["control"],
        help="the first of five consecutive ports",
    )
    return parser.parse_args()


@contextlib.contextmanager
def _speech(kind: str) -> Iterator[Speech]:
    if kind == "fixtures":
        yield FixtureSpeech()
        return
    engine = MultilingualSpeech if kind == "multilingual" else LocalSpeech
    with contextlib.closing(engine()) as speech:
        yield speech


def _stop_on_signals() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


if __name__ == "__main__":
    main()
