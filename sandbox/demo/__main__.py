"""``python -m sandbox.demo``: send a voice note through the whole bridge, and show each step."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import imageio_ffmpeg
import requests

from sandbox import Sandbox
from sandbox.bridge import ROOT, STOP_SIGNALS, Bridge
from sandbox.cluster import Cluster
from sandbox.demo.bridges import (
    DemoError,
    free_or_other,
    free_ports,
    running_bridge,
    running_cluster,
)
from sandbox.demo.cluster_demo import ClusterDemo
from sandbox.demo.commands import Commands
from sandbox.demo.prompt import Prompt
from sandbox.demo.runs import UnusableFolder, one_at_a_time, run_folder
from sandbox.demo.screen import OutputFailed, Screen
from sandbox.demo.single_demo import SingleDemo
from sandbox.demo.tour import run_tour
from sandbox.demo.voice_answers import VoiceAnswers
from sandbox.demo.voice_notes import (
    UnusableRecording,
    VoiceNote,
    display_path,
    load_voice_note,
    speak_voice_note,
    user_path,
)
from sandbox.phone import PHONE_PORT, Phone, open_page
from sandbox.speech import Speech
from sandbox.speech.codec import Codec
from sandbox.speech.fixture import FixtureSpeech
from sandbox.speech.local import LocalSpeech, MultilingualSpeech
from sandbox.speech.models import ModelsMissing

USER = "whatsapp:+15550100"
RECORDING = Path(__file__).with_name("recordings") / "question-en.ogg"
QUESTION = "How do I register an electronic invoice?"
FOLDER = ROOT / ".state/demo"
CTRL_C_STATUS = 128 + signal.SIGINT


class Stopped(KeyboardInterrupt):
    """The process should end: by Ctrl-C, ``kill``, or because its window was closed.

    ``status`` is the exit status by which a shell reports this signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


def main() -> None:
    arguments = _arguments()
    # Characters that the terminal's encoding lacks become question marks instead of errors.
    for stream in (sys.stdin, sys.stdout):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if sys.stdout is None:
        sys.exit("The standard output is closed, so nothing can be shown.")
    screen = Screen()
    try:
        status = _run(arguments, screen)
    except OutputFailed:
        status = 1
    if screen.failure:
        _report_output(screen.failure)
    sys.exit(status)


def _report_output(failure: OSError) -> None:
    """Say that the output cannot be written, unless its reader has just gone, as ``head`` does."""
    # What is left in the buffer cannot be written either when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(failure, BrokenPipeError):
        print(f"The output cannot be written: {failure.strerror}.", file=sys.stderr)


def _stop(number: int, frame: FrameType | None) -> None:
    """Raises ``Stopped``; further signals are ignored, so that they do not disturb the cleanup."""
    _ignore_signals()
    raise Stopped(number)


def _ignore_signals() -> None:
    for signal_number in STOP_SIGNALS:
        signal.signal(signal_number, signal.SIG_IGN)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the first turn")
    parser.add_argument(
        "--tour", action="store_true", help="send further messages that show session and cache"
    )
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="run two webs and two workers, and kill a worker in the middle of the turn",
    )
    parser.add_argument("--file", type=user_path, metavar="PATH", help="send this recording")
    parser.add_argument(
        "--folder",
        type=user_path,
        metavar="PATH",
        default=FOLDER,
        help="where each run gets a folder of its own for voice answers and logs",
    )
    parser.add_argument(
        "--fault",
        metavar="JSON",
        action="append",
        default=[],
        help="switch on a fault first, in the format of the control server",
    )
    parser.add_argument("--lang-pack", action="store_true", help="hear and speak Arabic too")
    parser.add_argument(
        "--speech", choices=["real", "fixtures"], default="real", help="fixtures are tones"
    )
    return parser.parse_args()


def _title(arguments: argparse.Namespace) -> str:
    if arguments.cluster:
        return "A worker is killed, and the answer still comes once"
    return "A voice note through the whole bridge"


def _run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns the exit status."""
    with contextlib.ExitStack() as stack:
        try:
            for signal_number in STOP_SIGNALS:
                signal.signal(signal_number, _stop)
            screen.line(screen.coloured(_title(arguments), "bold"))
            screen.line()
            return _demonstrate(arguments, screen, stack)
        except Stopped as stopped:
            screen.line("Stopping.")
            return stopped.status
        except UnusableFolder as error:
            print(error, file=sys.stderr)
            return 1
        except (ModelsMissing, DemoError, UnusableRecording) as error:
            screen.text(str(error))
            return 1
        finally:
            # The stack takes a moment, in which the bridge stops answering.
            _ignore_signals()
            screen.close()


def _demonstrate(arguments: argparse.Namespace, screen: Screen, stack: contextlib.ExitStack) -> int:
    ffmpeg = os.environ.get("FFMPEG_PATH") or imageio_ffmpeg.get_ffmpeg_exe()
    codec = Codec(ffmpeg=ffmpeg)
    folder = stack.enter_context(run_folder(arguments.folder))
    speech = stack.enter_context(_loaded_speech(arguments, screen, codec))
    note = _first_voice_note(arguments, speech, codec)
    with one_at_a_time(ROOT / ".state"):
        with screen.step("Starting the sandbox"):
            sandbox = stack.enter_context(Sandbox(speech=speech, ports=free_ports(), ffmpeg=ffmpeg))
        for fault in arguments.fault:
            _add_fault(fault, sandbox)
        bridge = stack.enter_context(_running_bridge(arguments, sandbox, screen, folder))
        phone = None
        if not arguments.once:
            phone = _phone(bridge, sandbox=sandbox, speech=speech, ffmpeg=ffmpeg)
            stack.enter_context(phone)
    answers = VoiceAnswers(
        sandbox=sandbox,
        screen=screen,
        speech=speech,
        codec=codec,
        folder=folder,
        # The address ends with the demo.
        link=not arguments.once,
    )
    demo = _demo(bridge, sandbox=sandbox, screen=screen, folder=folder, voice_answers=answers)
    addresses = _addresses(sandbox, demo, folder)
    if phone:
        addresses = {"Phone": phone.url} | addresses
        screen.text(f"A phone in your browser: {phone.url}")
        open_page(phone.url)
    succeeded = demo.run(note)
    if arguments.tour:
        succeeded = run_tour(demo, screen, note) and succeeded
    if arguments.once:
        return 0 if succeeded else 1
    commands = Commands(
        demo=demo,
        screen=screen,
        speech=speech,
        codec=codec,
        note=note,
        elsewhere=_shell_commands(sandbox, demo),
    )
    return _run_prompt(demo, screen, commands, addresses)


@contextlib.contextmanager
def _loaded_speech(arguments: argparse.Namespace, screen: Screen, codec: Codec) -> Iterator[Speech]:
    """The engine for both directions, ready for use. Raises ``ModelsMissing``."""
    if arguments.speech == "fixtures":
        yield FixtureSpeech()
        return
    with contextlib.ExitStack() as stack:
        with screen.step("Loading the speech models"):
            kind = MultilingualSpeech if arguments.lang_pack else LocalSpeech
            speech = stack.enter_context(contextlib.closing(kind()))
            _warm_up(speech, codec)
        yield speech


def _warm_up(speech: LocalSpeech, codec: Codec) -> None:
    """Use the models once, so that lazy loading does not slow the first turn down."""
    ready = speech.synthesize("The demonstration is ready.", "en")
    speech.transcribe(codec.decode(codec.encode(ready, "opus_48000_32")))


def _first_voice_note(arguments: argparse.Namespace, speech: Speech, codec: Codec) -> VoiceNote:
    """Raises ``UnusableRecording``."""
    if arguments.speech == "fixtures" and not arguments.file:
        return speak_voice_note(QUESTION, speech, codec)
    return load_voice_note(arguments.file or RECORDING, codec)


def _running_bridge(
    arguments: argparse.Namespace, sandbox: Sandbox, screen: Screen, folder: Path
) -> contextlib.AbstractContextManager[Bridge | Cluster]:
    if arguments.cluster:
        return running_cluster(sandbox, screen, folder)
    return running_bridge(sandbox, screen, folder)


def _demo(bridge: Bridge | Cluster, **options: Any) -> SingleDemo:
    if isinstance(bridge, Cluster):
        return ClusterDemo(bridge=bridge, user=USER, **options)
    return SingleDemo(bridge=bridge, user=USER, **options)


def _phone(bridge: Bridge | Cluster, *, sandbox: Sandbox, speech: Speech, ffmpeg: str) -> Phone:
    """A page that can also kill the process that runs the turns, or one of those."""
    return Phone(
        sandbox=sandbox,
        bridge=bridge,
        process=bridge.workers[0] if isinstance(bridge, Cluster) else bridge,
        speech=speech,
        ffmpeg=ffmpeg,
        port=free_or_other(PHONE_PORT),
    )


def _run_prompt(
    demo: SingleDemo, screen: Screen, commands: Commands, addresses: Mapping[str, str]
) -> int:
    """Let the user write and speak until the input ends; returns the exit status.

    Raises ``Stopped``, but not for Ctrl-C at a terminal's prompt.
    """
    screen.line(screen.coloured("The bridge keeps running; answers appear here.", "bold"))
    screen.line()
    for name, address in addresses.items():
        screen.entry(name, address, 9)
    screen.line()
    commands.show()
    demo.show_next_steps()
    screen.line()
    prompt = Prompt(screen=screen, handle=commands.handle, show_new=demo.show_new)
    try:
        succeeded = prompt.run()
    except KeyboardInterrupt as interrupt:
        by_ctrl_c = not isinstance(interrupt, Stopped) or interrupt.status == CTRL_C_STATUS
        if not (prompt.is_interactive and by_ctrl_c):
            raise
        # That is how people leave a prompt.
        succeeded = True
    screen.line("Stopping.")
    return 0 if succeeded else 1


def _addresses(sandbox: Sandbox, demo: SingleDemo, folder: Path) -> dict[str, str]:
    """What can be opened while the demo runs, by its name of at most 9 letters."""
    return {
        "Dashboard": f"{demo.bridge_url}/dashboard",
        "Sandbox": sandbox.control.url,
        "Answers": f"{display_path(folder)}/",
        "Log": demo.log_file,
    }


def _shell_commands(sandbox: Sandbox, demo: SingleDemo) -> dict[str, str]:
    """Commands for another terminal, in lines of at most 60 columns, by what they do."""
    number = USER.removeprefix("whatsapp:").replace("+", "%2B")
    message = [
        f"  curl {demo.bridge_url}/",
        '    -d "MessageSid=test123"',
        f'    -d "From=whatsapp:{number}"',
        '    -d "Body=How do I cancel an invoice?"',
    ]
    fault = [
        f"  curl {sandbox.control.url}/faults",
        """    -d '{"service": "agentforce",""",
        """         "call": "ask", "status": 500}'""",
    ]
    return {
        "Write as the user, each time with a new MessageSid, because the bridge ignores repeated"
        " ones (%2B is a plus sign):": " \\\n".join(message),
        "Let the agent's next answer be an error:": f"{fault[0]} \\\n{fault[1]}\n{fault[2]}",
        "Read the bridge's metrics:": f"  curl {demo.bridge_url}/metrics",
    }


def _add_fault(fault: str, sandbox: Sandbox) -> None:
    """Use the control server, because it validates faults. Raises ``DemoError``."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{sandbox.control.url}/faults", data=fault.encode())
    if not answer.ok:
        raise DemoError(f"--fault {fault}: {answer.json()['error']}")


if __name__ == "__main__":
    main()
