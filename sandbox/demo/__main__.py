"""``python -m sandbox.demo``: send a voice note through the whole bridge, and show each step."""

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
from sandbox.bridge import ROOT, Bridge, Process
from sandbox.cluster import Cluster
from sandbox.demo.bridges import (
    DemoError,
    free_or_other,
    free_ports,
    running_bridge,
    running_cluster,
)
from sandbox.demo.cluster_demo import ClusterDemo
from sandbox.demo.prompt import Prompt
from sandbox.demo.screen import Screen
from sandbox.demo.single_demo import SingleDemo
from sandbox.phone import PHONE_PORT, Phone, open_page
from sandbox.speech.codec import Codec
from sandbox.speech.local import LocalSpeech
from sandbox.speech.models import ModelsMissing

USER = "whatsapp:+15550100"
RECORDING = Path(__file__).with_name("recordings") / "question-en.ogg"
FOLDER = ROOT / ".state/demo"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """The process should end: by Ctrl-C, ``kill``, or because its window was closed."""


def main() -> None:
    arguments = _arguments()
    # Characters that the terminal's encoding lacks become question marks instead of errors.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    screen = Screen()
    for signal_number in STOP_SIGNALS:
        signal.signal(signal_number, _stop)
    try:
        status = _run(arguments, screen)
    except Stopped:
        screen.line("\nStopped.")
        status = 130
    except (ModelsMissing, DemoError) as error:
        screen.text(str(error))
        status = 1
    sys.exit(status)


def _stop(number: int, frame: FrameType | None) -> None:
    """Raises ``Stopped``; further signals are ignored, so that they do not disturb the cleanup."""
    for signal_number in STOP_SIGNALS:
        signal.signal(signal_number, signal.SIG_IGN)
    raise Stopped


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the first turn")
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="run two webs and two workers, and kill a worker in the middle of the turn",
    )
    parser.add_argument(
        "--file", type=Path, metavar="PATH", default=RECORDING, help="send this recording"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="PATH",
        default=FOLDER,
        help="the folder for voice answers and logs",
    )
    parser.add_argument(
        "--fault",
        metavar="JSON",
        action="append",
        default=[],
        help="switch on a fault first, in the format of the control server",
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
            _warm_up(speech, codec)
        with screen.step("Starting the sandbox"):
            sandbox = stack.enter_context(Sandbox(speech=speech, ports=free_ports(), ffmpeg=ffmpeg))
        for fault in arguments.fault:
            _add_fault(fault, sandbox)
        demo = _start_demo(
            arguments, stack, sandbox=sandbox, screen=screen, speech=speech, codec=codec
        )
        succeeded = demo.run(arguments.file)
        if arguments.once:
            return 0 if succeeded else 1
        _run_prompt(sandbox, screen, demo)
    return 0


def _start_demo(
    arguments: argparse.Namespace, stack: contextlib.ExitStack, **options: Any
) -> SingleDemo:
    """Start the bridge, which runs until ``stack`` is closed, and create the demo for it."""
    sandbox, screen, folder = options["sandbox"], options["screen"], arguments.folder
    if arguments.cluster:
        cluster = stack.enter_context(running_cluster(sandbox, screen, folder))
        _show_phone(arguments, stack, options, bridge=cluster, process=cluster.workers[0])
        return ClusterDemo(bridge=cluster, user=USER, folder=folder, **options)
    bridge = stack.enter_context(running_bridge(sandbox, screen, folder))
    _show_phone(arguments, stack, options, bridge=bridge, process=bridge)
    return SingleDemo(bridge=bridge, user=USER, folder=folder, **options)


def _show_phone(
    arguments: argparse.Namespace,
    stack: contextlib.ExitStack,
    options: dict[str, Any],
    *,
    bridge: Bridge | Cluster,
    process: Process,
) -> None:
    """Serve the phone in the browser until ``stack`` is closed, unless the demo ends by itself."""
    if arguments.once:
        return
    phone = Phone(
        sandbox=options["sandbox"],
        bridge=bridge,
        process=process,
        speech=options["speech"],
        ffmpeg=os.environ.get("FFMPEG_PATH"),
        port=free_or_other(PHONE_PORT),
    )
    stack.enter_context(phone)
    options["screen"].line(f"A phone in the browser: {phone.url}")
    open_page(phone.url)


def _warm_up(speech: LocalSpeech, codec: Codec) -> None:
    """Use the models once, so that lazy loading does not slow the first turn down."""
    ready = speech.synthesize("The demonstration is ready.", "en")
    speech.transcribe(codec.decode(codec.encode(ready, "opus_48000_32")))


def _run_prompt(sandbox: Sandbox, screen: Screen, demo: SingleDemo) -> None:
    """Let the user write and speak until the input ends or the process is stopped."""
    demo.show_next_steps()
    prompt = Prompt(
        sandbox=sandbox,
        screen=screen,
        user=USER,
        show=demo.show_message,
        send_file=demo.send_recording,
    )
    prompt.mark_all_shown()
    try:
        prompt.run()
    except Stopped:
        screen.line()
    screen.line("Stopping.")


def _add_fault(fault: str, sandbox: Sandbox) -> None:
    """Use the control server, because it validates faults. Raises ``DemoError``."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{sandbox.control.url}/faults", data=fault.encode())
    if not answer.ok:
        raise DemoError(f"--fault {fault}: {answer.json()['error']}")


if __name__ == "__main__":
    main()
