"""``python -m sandbox.demo``: a voice note through the whole bridge, shown step by step."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import imageio_ffmpeg
import requests

from sandbox import Sandbox
from sandbox.bridge import ROOT
from sandbox.demo.cluster_demo import ClusterDemo
from sandbox.demo.processes import (
    Impossible,
    free_ports,
    running_bridge,
    running_cluster,
)
from sandbox.demo.prompt import Prompt
from sandbox.demo.screen import Screen
from sandbox.demo.single_demo import SingleDemo
from sandbox.speech.codec import Codec
from sandbox.speech.local import LocalSpeech
from sandbox.speech.models import ModelsMissing

USER = "whatsapp:+15550100"
RECORDING = Path(__file__).with_name("recordings") / "question-en.ogg"
FOLDER = ROOT / ".state/demo"


class Stopped(BaseException):
    """Somebody wants the process to end: Ctrl-C, ``kill``, or a closed window."""


def main() -> None:
    arguments = _arguments()
    # A terminal of another encoding gets question marks, not a traceback.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    screen = Screen()
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, _stop)
    try:
        status = _run(arguments, screen)
    except Stopped:
        screen.line("\nStopped.")
        status = 130
    except (ModelsMissing, Impossible) as problem:
        screen.text(str(problem))
        status = 1
    sys.exit(status)


def _stop(number: int, frame: FrameType | None) -> None:
    """Clean up in peace: a second Ctrl-C would leave the bridge behind."""
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, signal.SIG_IGN)
    raise Stopped


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the first turn")
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="two webs and two workers, of which one is killed in the middle of the turn",
    )
    parser.add_argument(
        "--file", type=Path, metavar="PATH", default=RECORDING, help="a recording of your own"
    )
    parser.add_argument(
        "--folder", type=Path, metavar="PATH", default=FOLDER, help="where answers and log are kept"
    )
    parser.add_argument(
        "--fault",
        metavar="JSON",
        action="append",
        default=[],
        help="a fault to switch on first, as the control server takes it",
    )
    return parser.parse_args()


def _title(arguments: argparse.Namespace) -> str:
    if arguments.cluster:
        return "A worker is killed, and the answer still comes once"
    return "A voice note through the whole bridge"


def _run(arguments: argparse.Namespace, screen: Screen) -> int:
    screen.line(screen.coloured(_title(arguments), "bold"))
    screen.line()
    ffmpeg = os.environ.get("FFMPEG_PATH") or imageio_ffmpeg.get_ffmpeg_exe()
    codec = Codec(ffmpeg=ffmpeg)
    with contextlib.ExitStack() as stack:
        with screen.step("Loading the speech models"):
            speech = stack.enter_context(contextlib.closing(LocalSpeech()))
            _warm(speech, codec)
        with screen.step("Starting the sandbox"):
            sandbox = stack.enter_context(Sandbox(speech=speech, ports=free_ports(), ffmpeg=ffmpeg))
        for fault in arguments.fault:
            _switch_on(fault, sandbox)
        demo = _demo_of(
            arguments, stack, sandbox=sandbox, screen=screen, speech=speech, codec=codec
        )
        complete = demo.tell(arguments.file)
        if arguments.once:
            return 0 if complete else 1
        _stay(sandbox, screen, demo)
    return 0


def _demo_of(
    arguments: argparse.Namespace, stack: contextlib.ExitStack, **parts: Any
) -> SingleDemo:
    """The story to tell, of processes that run as long as ``stack``."""
    sandbox, screen, folder = parts["sandbox"], parts["screen"], arguments.folder
    if arguments.cluster:
        cluster = stack.enter_context(running_cluster(sandbox, screen, folder))
        return ClusterDemo(bridge=cluster, user=USER, folder=folder, **parts)
    bridge = stack.enter_context(running_bridge(sandbox, screen, folder))
    return SingleDemo(bridge=bridge, user=USER, folder=folder, **parts)


def _warm(speech: LocalSpeech, codec: Codec) -> None:
    """Let everything be loaded that is loaded late, so that the turn's times are its own."""
    ready = speech.synthesize("The demonstration is ready.", "en")
    speech.transcribe(codec.decode(codec.encode(ready, "opus_48000_32")))


def _stay(sandbox: Sandbox, screen: Screen, demo: SingleDemo) -> None:
    demo.say_how_to_go_on()
    prompt = Prompt(
        sandbox=sandbox,
        screen=screen,
        user=USER,
        show=demo.show_message,
        send_file=demo.tell_of_own,
    )
    prompt.skip_to_now()
    try:
        prompt.run()
    except Stopped:
        screen.line()
    screen.line("Stopping.")


def _switch_on(fault: str, sandbox: Sandbox) -> None:
    """By the same door as everybody, which explains what is wrong with a fault."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{sandbox.control.url}/faults", data=fault.encode())
    if not answer.ok:
        raise Impossible(f"--fault {fault}: {answer.json()['error']}")


if __name__ == "__main__":
    main()
