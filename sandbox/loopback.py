"""A WSGI server on loopback whose connections live on, and can be broken on purpose."""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
from collections.abc import Iterable
from typing import Any
from wsgiref.types import WSGIApplication

from werkzeug.exceptions import ClientDisconnected
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wsgi import get_input_stream

# Enough for a burst of callers that all connect before the first is accepted.
BACKLOG = 1024
# How long a connection may lie idle between two requests.
IDLE_SECONDS = 60.0
# How often a stopping server looks whether it should stop.
POLL_SECONDS = 0.03


class LoopbackServer:
    """Serves one WSGI application on ``127.0.0.1``.

    HTTP/1.1 with keep-alive, like the real providers; werkzeug's handler closes every connection.
    A server that was stopped starts again on the same port.
    """

    def __init__(self, *, app: WSGIApplication, name: str, port: int = 0) -> None:
        self._app = app
        self._name = name
        self._port = port
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """Raises ``RuntimeError`` before the first start, when the port is still to be chosen."""
        if not self._port:
            raise RuntimeError(f"the {self._name} stand-in was never started")
        return self._port

    @property
    def connections(self) -> int:
        """How many callers have made since the start."""
        return self._server.accepted if self._server else 0

    def start(self) -> None:
        """Raises ``SystemExit`` with a message on stderr when the port is taken."""
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = _Server("127.0.0.1", self._port, self._app, _Handler)
        self._port = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": POLL_SECONDS},
            name=f"{self._name} stand-in",
            daemon=True,
        ).start()

    def stop(self) -> None:
        """Stop listening and hang up on everyone; does nothing when not started."""
        if self._server is not None:
            self._server.shutdown()
            self._server.hang_up()
            self._server = None


def break_connection(connection: socket.socket) -> None:
    """Close with RST, as a peer that died does. What was sent before still arrives."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # close() would wait until the handler lets go of its file objects, and end with a polite FIN.
    os.close(connection.detach())


def is_broken(connection: socket.socket) -> bool:
    return connection.fileno() < 0


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes; with Nagle the second waits for the client's delayed ACK.
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the call recorder keeps the record."""

    def log_error(self, format: str, *args: object) -> None:  # the base's name
        """Say nothing: that an idle connection timed out is no error."""

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        body = get_input_stream(environ)
        environ["wsgi.input"], environ["wsgi.input_terminated"] = body, True
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            head[:] = [status, headers]

        try:
            chunks = self.server.app(environ, start_response)
            try:
                if not is_broken(self.connection):
                    self._answer(head[0], head[1], chunks)
                    _drain(body)
            finally:
                getattr(chunks, "close", _nothing)()
        except (OSError, ClientDisconnected):
            self.close_connection = True
        if is_broken(self.connection):
            self.close_connection = True

    def _answer(self, status: str, headers: list[tuple[str, str]], chunks: Iterable[bytes]) -> None:
        code, _, reason = status.partition(" ")
        names = {name.lower() for name, _ in headers}
        bodiless = self.command == "HEAD" or code in ("204", "304")
        chunked = "content-length" not in names and not bodiless
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            if chunk and not bodiless:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")


class _Server(ThreadedWSGIServer):
    request_queue_size = BACKLOG
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.accepted = 0
        super().__init__(*arguments)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
            self.accepted += 1
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)

    def hang_up(self) -> None:
        """End the connections that are open, so that no thread waits for another request."""
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


def _drain(body: Any) -> None:
    """Read what the view left, or the next request would begin in the middle of this one."""
    while body.read(1 << 16):
        pass


def _nothing() -> None:
    return None
