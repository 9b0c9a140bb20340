"""The base class of the stand-ins: records calls, adds latency and injects faults."""

from __future__ import annotations

import functools
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from flask import Flask, Response, after_this_request, g, make_response, request

from sandbox.call_recorder import Body, Call, CallRecorder
from sandbox.faults import Fault, Faults
from sandbox.latency import LatencyProfile
from sandbox.loopback import LoopbackServer, break_connection
from sandbox.slots import NoSlotFree, Slots

View = Callable[..., Any]

# Longer bodies, such as recordings, are not kept.
KEPT_BYTES = 64 * 1024


class StandIn:
    """A provider on a loopback port.

    Subclasses register their views with :meth:`call` and implement :meth:`error` in the provider's
    own format. ``calls`` are the names of the calls that can have faults. ``concurrency`` may be
    set at any time: beyond that number, calls named in ``limited`` get 429.
    """

    service = ""
    # Set if clients reach the stand-in by another address, such as a TLS proxy.
    public_url: str | None = None
    limited: frozenset[str] = frozenset()

    def __init__(
        self, *, recorder: CallRecorder, faults: Faults, latency: LatencyProfile, port: int = 0
    ) -> None:
        self.recorder = recorder
        self.faults = faults
        self.latency = latency
        self.app = Flask(f"sandbox.{self.service}")
        self.calls: set[str] = set()
        self._slots = Slots(limit=sys.maxsize)
        self.app.before_request(_answer_keep_alive)
        self._server = LoopbackServer(app=self.app, name=self.service, port=port)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT`` or ``public_url``, without a trailing slash."""
        return self.public_url or f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections were accepted since the start."""
        return self._server.connections

    @property
    def concurrency(self) -> int:
        """How many ``limited`` calls are served at the same time; unlimited by default."""
        return self._slots.limit

    @concurrency.setter
    def concurrency(self, calls: int) -> None:
        self._slots.limit = calls

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        """Stop listening and close all connections; ``start`` uses the same port again."""
        self._server.stop()

    def error(self, status: int) -> Response:
        """An error response in the provider's own format."""
        raise NotImplementedError

    def subject(self) -> str:
        """The text of the current request in which ``Fault.about`` is searched."""
        return f"{request.full_path}\n{request.get_data(as_text=True)}"

    def record_violation(self, call: str, rule: str) -> None:
        self.recorder.record_violation(self.service, call, rule)

    def call(
        self,
        name: str,
        rule: str,
        *,
        adds_latency: bool = True,
        hangs: bool = True,
        **options: Any,
    ) -> Callable[[View], View]:
        """Register a view as the call ``name``, with recording, latency and faults.

        The view finds its record as ``flask.g.call`` and its fault, or None, as ``flask.g.fault``.
        With ``adds_latency=False`` it sleeps itself, with ``hangs=False`` it also implements a
        ``hang`` itself. ``flask.g.cleanup`` is closed after the view and releases the call's slot;
        a view that streams takes its content with ``pop_all`` and closes it at the end.
        """

        def register(view: View) -> View:
            @functools.wraps(view)
            def handle(**arguments: Any) -> Any:
                port = int(request.environ["REMOTE_PORT"])
                headers = dict(request.headers)
                g.call = Call(self.service, name, time.monotonic(), headers, port=port)
                g.call.rule = f"{request.method} {request.url_rule or rule}"
                if self.recorder.keeps_bodies:
                    g.call.sent = _body(request.content_type, request.get_data())
                    after_this_request(functools.partial(_keep_answer, g.call))
                self.recorder.record(g.call)
                after_this_request(functools.partial(_record_end, g.call))
                with ExitStack() as g.cleanup:
                    try:
                        self._acquire_slot(name, g.cleanup)
                    except NoSlotFree:
                        return self.error(429)
                    delay = self.latency.delay(name) if adds_latency else 0.0
                    fault = g.fault = self.faults.take(self.service, name, self.subject)
                    if fault is not None and (hangs or fault.kind != "hang"):
                        return self._fail(fault, delay, functools.partial(view, **arguments))
                    time.sleep(delay)
                    return view(**arguments)

            self.calls.add(name)
            self.app.add_url_rule(rule, endpoint=f"{name} {rule}", view_func=handle, **options)
            return view

        return register

    def _acquire_slot(self, name: str, cleanup: ExitStack) -> None:
        """Raises ``NoSlotFree``."""
        if name in self.limited:
            cleanup.enter_context(self._slots.acquire())

    def _fail(self, fault: Fault, delay: float, view: Callable[[], Any]) -> Any:
        if fault.kind == "status":
            answer = self.error(fault.status)
            if fault.body is not None:
                answer.set_data(fault.body)
            answer.headers.update(fault.headers)
            return answer
        if fault.kind == "junk":
            return Response(fault.body or "<html>not what you asked for</html>", 200)
        connection: socket.socket = request.environ["werkzeug.socket"]
        if fault.kind == "reset":
            return _reset(connection)
        time.sleep(delay)
        if fault.kind == "hang":
            self.faults.wait(fault, fault.seconds)
        answer = make_response(view())
        if fault.kind == "hang":
            return answer
        answer.direct_passthrough = False
        # Reads the whole body, so that a streamed answer is complete before the connection breaks.
        streamed, body = answer.is_streamed, answer.get_data()
        if fault.kind == "vanish":
            self.faults.wait(fault, fault.seconds)
            return _reset(connection)
        if fault.kind == "cut":
            answer.response = _send_half(body, connection)
        else:
            answer.response = self._trickle(body, fault)
        if not streamed:
            answer.headers["Content-Length"] = str(len(body))
        return answer

    def _trickle(self, body: bytes, fault: Fault) -> Iterator[bytes]:
        for position in range(len(body)):
            self.faults.wait(fault, fault.seconds)
            yield body[position : position + 1]


def _answer_keep_alive() -> Response | None:
    """Answer ``HEAD /``, by which a client keeps a connection open, without recording a call."""
    is_keep_alive = request.method == "HEAD" and request.path == "/"
    return Response(status=404) if is_keep_alive else None


def _record_end(call: Call, answer: Response) -> Response:
    def record() -> None:
        call.status = answer.status_code
        call.ended = time.monotonic()

    # Now, because the server may not close an answer without a body; again on closing, because a
    # streamed answer ends much later.
    record()
    answer.call_on_close(record)
    return answer


def _keep_answer(call: Call, answer: Response) -> Response:
    if not answer.is_streamed and not answer.direct_passthrough:
        call.received = _body(answer.content_type, answer.get_data())
    return answer


def _body(content_type: str | None, content: bytes) -> Body:
    kept = content if len(content) <= KEPT_BYTES else b""
    return Body(content_type or "", len(content), kept)


def _reset(connection: socket.socket) -> Response:
    """Break the connection; the server does not send the returned response."""
    break_connection(connection)
    return Response(status=500)


def _send_half(body: bytes, connection: socket.socket) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    break_connection(connection)
    raise ConnectionAbortedError("cut on purpose")
