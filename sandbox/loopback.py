"""A WSGI server on loopback with keep-alive, whose connections can be broken on purpose.

docs/decisions.md, "Libraries used or refused", says why it is not one of the usual
WSGI servers.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
from collections.abc import Iterable
from contextlib import closing
from typing import Any
from wsgiref.types import WSGIApplication

from werkzeug.exceptions import ClientDisconnected
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wsgi import ClosingIterator, get_input_stream

# Enough for a burst of clients that connect before the first one is accepted.
BACKLOG = 1024
# An idle connection is closed after this time.
IDLE_SECONDS = 60.0
# How often the server checks whether it should stop.
POLL_SECONDS = 0.03
DRAIN_BYTES = 1 << 16


class LoopbackServer:
    """Serves one WSGI application on ``127.0.0.1``, with HTTP/1.1 and keep-alive.

    After ``stop`` it starts again on the same port.
    """

    def __init__(self, *, app: WSGIApplication, name: str, port: int = 0) -> None:
        self._app = app
        self._name = name
        self._port = port
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """Raises ``RuntimeError`` before the first start, if the port is chosen by the system."""
        if not self._port:
            raise RuntimeError(f"the {self._name} stand-in was never started")
        return self._port

    @property
    def connections(self) -> int:
        """How many connections were accepted since the start."""
        return self._server.accepted if self._server else 0

    def start(self) -> None:
        """Raises ``SystemExit`` with a message on stderr if the port is in use."""
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
        """Stop listening and close all connections; does nothing if it was not started."""
        if self._server is not None:
            self._server.shutdown()
            self._server.close_connections()
            self._server = None


def break_connection(connection: socket.socket) -> None:
    """Close with RST, as when the peer crashes. Data that was sent before still arrives."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # socket.close() would only close when the handler closes its file objects, and send a FIN.
    os.close(connection.detach())


def is_broken(connection: socket.socket) -> bool:
    return connection.fileno() < 0


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes; with Nagle the second waits for the client's delayed ACK.
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing, because the call recorder has all calls."""

    def log_error(self, format: str, *args: object) -> None:  # named as in the base class
        """Log nothing: the base class logs the timeout of an idle connection as an error."""

    def run_wsgi(self) -> None:
        """Serve one request; werkzeug's own method closes the connection after each."""
        environ = self.make_environ()
        body = get_input_stream(environ)
        environ["wsgi.input"], environ["wsgi.input_terminated"] = body, True
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
            head[:] = [status, headers]

        try:
            with closing(ClosingIterator(self.server.app(environ, start_response))) as chunks:
                if not is_broken(self.connection):
                    self._send(head[0], head[1], chunks)
                    _drain(body)
        except (OSError, ClientDisconnected):
            self.close_connection = True
        if is_broken(self.connection):
            self.close_connection = True

    def _send(self, status: str, headers: list[tuple[str, str]], chunks: Iterable[bytes]) -> None:
        code, _, reason = status.partition(" ")
        names = {name.lower() for name, _ in headers}
        has_body = self.command != "HEAD" and code not in ("204", "304")
        chunked = has_body and "content-length" not in names
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            if chunk and has_body:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")


class _Server(ThreadedWSGIServer):
    request_queue_size = BACKLOG
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self.accepted = 0
        super().__init__(*arguments)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
            self.accepted += 1
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connections.discard(request)

    def close_connections(self) -> None:
        """Close all open connections, so that no thread waits for another request."""
        with self._lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


def _drain(body: Any) -> None:
    """Read what the view did not, so that the next request starts after the end of this body."""
    while body.read(DRAIN_BYTES):
        pass
