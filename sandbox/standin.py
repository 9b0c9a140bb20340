"""What the stand-ins share: calls that are recorded, paced and made to fail."""

from __future__ import annotations

import functools
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from flask import Flask, Response, after_this_request, g, make_response, request

from sandbox.call_recorder import Call, CallRecorder
from sandbox.faults import Fault, Faults
from sandbox.latency import LatencyProfile
from sandbox.loopback import LoopbackServer, break_connection
from sandbox.slots import Full, Slots

View = Callable[..., Any]


class StandIn:
    """A provider on a loopback port.

    Subclasses add their routes to ``self.app`` with :meth:`call` and give :meth:`error` the
    service's own error form. ``calls`` holds the names of the calls that faults can strike.
    ``at_once``, to be set at any time, is how many of the ``limited`` calls are served at once;
    more get 429.
    """

    service = ""
    # The address it is known by where that is not its port: behind a proxy that speaks TLS.
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
        self.app.before_request(_answer_knock)
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
        """How many were made since the start."""
        return self._server.connections

    @property
    def at_once(self) -> int:
        return self._slots.limit

    @at_once.setter
    def at_once(self, calls: int) -> None:
        self._slots.limit = calls

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        """Stop listening and hang up; the next ``start`` takes the same port again."""
        self._server.stop()

    def error(self, status: int) -> Response:
        """An error answer in the service's own form."""
        raise NotImplementedError

    def subject(self) -> str:
        """What the current request is about, for faults that strike some calls only."""
        return f"{request.full_path}\n{request.get_data(as_text=True)}"

    def violate(self, call: str, rule: str) -> None:
        self.recorder.violate(self.service, call, rule)

    def call(
        self, name: str, rule: str, *, paced: bool = True, hangs: bool = True, **options: Any
    ) -> Callable[[View], View]:
        """Register a view as the call ``name``: recorded, paced, and open to faults.

        The view finds its own record as ``flask.g.call`` and the fault it suffers, or None, as
        ``flask.g.fault``; with ``paced=False`` it sleeps itself, with ``hangs=False`` it also
        waits out a ``hang`` itself. What it puts on ``flask.g.held`` is closed after the view; its
        place is there, and it may take that away (``pop_all``) to close it later.
        """

        def register(view: View) -> View:
            @functools.wraps(view)
            def answered(**arguments: Any) -> Any:
                port = int(request.environ["REMOTE_PORT"])
                headers = dict(request.headers)
                g.call = Call(self.service, name, time.monotonic(), headers, port=port)
                self.recorder.record(g.call)
                after_this_request(functools.partial(_time_until_closed, g.call))
                with ExitStack() as g.held:
                    try:
                        self._hold_place(name, g.held)
                    except Full:
                        return self.error(429)
                    delay = self.latency.of(name) if paced else 0.0
                    fault = g.fault = self.faults.take(self.service, name, self.subject)
                    if fault is not None and (hangs or fault.kind != "hang"):
                        return self._fail(fault, delay, functools.partial(view, **arguments))
                    time.sleep(delay)
                    return view(**arguments)

            self.calls.add(name)
            self.app.add_url_rule(rule, endpoint=f"{name} {rule}", view_func=answered, **options)
            return view

        return register

    def _hold_place(self, name: str, held: ExitStack) -> None:
        """Raises ``Full`` where all places are taken."""
        if name in self.limited:
            held.enter_context(self._slots.held())

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
            return _broken(connection)
        time.sleep(delay)
        if fault.kind == "hang":
            self.faults.hold(fault, fault.seconds)
        answer = make_response(view())
        if fault.kind == "hang":
            return answer
        answer.direct_passthrough = False
        # All of it, so that a streamed answer has done its work before the connection breaks.
        streamed, body = answer.is_streamed, answer.get_data()
        if fault.kind == "vanish":
            self.faults.hold(fault, fault.seconds)
            return _broken(connection)
        if fault.kind == "cut":
            answer.response = _cut(body, connection)
        else:
            answer.response = self._trickle(body, fault)
        if not streamed:
            answer.headers["Content-Length"] = str(len(body))
        return answer

    def _trickle(self, body: bytes, fault: Fault) -> Iterator[bytes]:
        for position in range(len(body)):
            self.faults.hold(fault, fault.seconds)
            yield body[position : position + 1]


def _answer_knock() -> Response | None:
    """Whoever only keeps a connection open calls nothing."""
    knocks = request.method == "HEAD" and request.path == "/"
    return Response(status=404) if knocks else None


def _time_until_closed(call: Call, answer: Response) -> Response:
    def note() -> None:
        call.status = answer.status_code
        call.ended = time.monotonic()

    # An answer without a body is never closed; a streamed one ends long after this.
    note()
    answer.call_on_close(note)
    return answer


def _broken(connection: socket.socket) -> Response:
    """Break the connection; the server sends nothing of this response."""
    break_connection(connection)
    return Response(status=500)


def _cut(body: bytes, connection: socket.socket) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    break_connection(connection)
    raise ConnectionAbortedError("cut on purpose")
