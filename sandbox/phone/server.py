"""The server of the phone: its page and its API, on loopback."""

from __future__ import annotations

import threading
from pathlib import Path

import imageio_ffmpeg
from flask import Flask, Response, send_from_directory

from sandbox import Sandbox
from sandbox.bridge import Process, RunningBridge
from sandbox.json_api import protect
from sandbox.loopback import LoopbackServer
from sandbox.phone.api import PhoneApi
from sandbox.phone.conversation import Conversations
from sandbox.phone.recordings import Recordings
from sandbox.phone.service_log import ServiceLog
from sandbox.phone.switches import KillSwitch, Switches
from sandbox.phone.turns import Turns
from sandbox.service import Service
from sandbox.speech import Speech
from sandbox.speech.codec import Codec

STATIC = Path(__file__).with_name("static")
# Files of this server and nothing else.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# The largest recording or picture that WhatsApp takes.
LARGEST_BYTES = 16 * 1024 * 1024


class Phone(Service):
    """A page on which each tab is a WhatsApp user who talks to ``bridge`` through ``sandbox``.

    ``process`` is the one that can be killed on the page, by default ``bridge`` if that is one
    process. ``speech`` transcribes voice notes for the reader. ``port`` is by default a free one.
    Use it as a context manager, or call ``start`` and ``stop``.
    """

    def __init__(
        self,
        *,
        sandbox: Sandbox,
        bridge: RunningBridge,
        speech: Speech,
        process: Process | None = None,
        ffmpeg: str | None = None,
        port: int = 0,
    ) -> None:
        self._recorder = sandbox.recorder
        self._stopped = threading.Event()
        self.app = Flask("sandbox.phone", static_folder=None)
        self.app.config["MAX_CONTENT_LENGTH"] = LARGEST_BYTES
        protect(self.app, own_page=True)
        self.app.after_request(_add_headers)
        self.app.add_url_rule("/", "page", lambda: send_from_directory(STATIC, "phone.html"))
        self.app.add_url_rule("/<name>", "file", lambda name: send_from_directory(STATIC, name))
        process = process or (bridge if isinstance(bridge, Process) else None)
        codec = Codec(ffmpeg=ffmpeg or imageio_ffmpeg.get_ffmpeg_exe())
        self._create_api(
            sandbox=sandbox,
            log=ServiceLog(bridge.log),
            recordings=Recordings(speech=speech, codec=codec),
            process=process,
        ).add_to(self.app)
        self._server = LoopbackServer(app=self.app, name="phone", port=port)

    @property
    def url(self) -> str:
        """The address of the page: ``http://127.0.0.1:PORT/``."""
        return f"http://127.0.0.1:{self._server.port}/"

    def start(self) -> None:
        """Keep the bodies of all calls from now on. Raises ``SystemExit`` if the port is in use."""
        self._stopped.clear()
        self._recorder.keeps_bodies = True
        self._server.start()

    def stop(self) -> None:
        self._stopped.set()
        self._recorder.keeps_bodies = False
        self._server.stop()

    def _create_api(
        self, *, sandbox: Sandbox, log: ServiceLog, recordings: Recordings, process: Process | None
    ) -> PhoneApi:
        twilio = sandbox.twilio
        conversations = Conversations(twilio=twilio, recordings=recordings)
        turns = Turns(twilio=twilio, conversations=conversations, log=log)
        return PhoneApi(
            twilio=twilio,
            conversations=conversations,
            recordings=recordings,
            turns=turns,
            switches=Switches(sandbox=sandbox, turns=turns, log=log),
            kill_switch=_kill_switch(process, sandbox) if process else None,
            stopped=self._stopped,
        )


def _kill_switch(process: Process, sandbox: Sandbox) -> KillSwitch:
    log = ServiceLog(process.log)
    return KillSwitch(process=process, log=log, agentforce=sandbox.agentforce)


def _add_headers(answer: Response) -> Response:
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["Cache-Control"] = "no-store"
    return answer
