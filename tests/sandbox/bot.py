"""A stub of a bot: a webhook, URLs of recordings, and a status callback."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping

from flask import Flask, Response, request

from sandbox.call_recorder import CallRecorder
from sandbox.loopback import LoopbackServer

EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


class Bot:
    """Answers each webhook with ``answer`` when ``may_answer`` is set; tests may change both."""

    def __init__(self, *, recorder: CallRecorder) -> None:
        self.answer = Response(EMPTY_TWIML, content_type="text/xml")
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.callback_status = 204
        self.received: list[Mapping[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self.callbacks: list[Mapping[str, str]] = []
        self.methods: list[str] = []
        self._recorder = recorder
        self._recordings: dict[str, Response | None] = {}
        app = Flask("bot")
        self._server = LoopbackServer(app=app, name="bot")
        app.add_url_rule("/", view_func=self._webhook, methods=["POST"])
        app.add_url_rule("/status", view_func=self._status, methods=["POST"])
        app.add_url_rule("/media/<name>", view_func=self._media, methods=["GET"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def publish(self, audio: bytes, content_type: str = "audio/ogg", name: str = "") -> str:
        """Serve a recording; returns its URL."""
        name = name or f"{secrets.token_urlsafe(24)}.ogg"
        self._recordings[name] = Response(audio, content_type=content_type)
        return f"{self.url}/media/{name}"

    def _webhook(self) -> Response:
        self.received.append(request.form.to_dict())
        self.headers.append(dict(request.headers))
        self.may_answer.wait(5)
        return self.answer

    def _status(self) -> tuple[str, int]:
        self.headers.append(dict(request.headers))
        self.callbacks.append(request.form.to_dict())
        self._recorder.notify()
        return "", self.callback_status

    def _media(self, name: str) -> Response:
        self.methods.append(request.method)
        return self._recordings.get(name) or Response(status=404)
