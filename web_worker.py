"""gunicorn's threaded worker, which clients that send slowly, or nothing, cannot hold up.

gunicorn 27.0.1 itself gives a connection to a thread before anything came, lets the thread wait
for the rest of a request without limit, and waits on its only event loop for clients to hang up
(docs/decisions.md). Here threads get requests that have come in whole.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.util import close_graceful
from gunicorn.workers.gthread import ThreadWorker

from doors import BODY_LIMIT
from errors import SettingsError
from forgeries import KEPT

# For a whole request to come in; Twilio and routers send theirs at once.
REQUEST_SECONDS = 5.0
# For a thread to serve it, the client's reading included.
SERVE_SECONDS = 30.0
# For a client to hang up that was told so, and to send what will not be read.
LINGER_SECONDS = 0.2

HEAD_LIMIT = 16 * 1024
# Of all connections, and bytes of requests that are not whole; beyond, those that began first go.
CROWDED = 0.9
HELD_LIMIT = 16 * 1024 * 1024
CHUNK = 64 * 1024

_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,9})[ \t]*\r$", re.IGNORECASE | re.MULTILINE)


class WebWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """All but ``handle`` runs on the event loop's thread."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # What threads are at work on, and until when.
        self._served: deque[tuple[float, Any]] = deque()

    def load_wsgi(self) -> None:
        """Stop the service with one sentence, no traceback, where a setting is missing or wrong."""
        try:
            super().load_wsgi()
        except SettingsError as error:
            print(error, file=sys.stderr, flush=True)
            raise SystemExit(Arbiter.APP_LOAD_ERROR) from None

    def enqueue_req(self, conn: Any) -> None:
        """A new connection, or a kept one with a first byte: wait for a whole request."""
        conn.sock.setblocking(False)
        self._expect(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, EVENT_READ, readable)

    def on_pending_socket_readable(self, conn: Any, client: socket.socket) -> None:
        """More of the request came, or its end too early; a whole one goes to a thread."""
        try:
            chunk = client.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        conn.came += chunk
        if len(conn.came) >= conn.wanted:
            conn.wanted = _whole(conn.came)
        if chunk and len(conn.came) < conn.wanted:
            return
        self.pending_conns.remove(conn)
        whole = chunk and conn.wanted
        refusal = self.wsgi.extensions["forgeries"].refusal(conn.came) if whole else None
        if refusal and self._refuse(conn, refusal):
            self._expect(conn)
            return
        self.poller.unregister(client)
        if whole and not refusal:
            self._serve(conn)
        else:
            self._drop(conn)

    def handle(self, conn: Any) -> Any:
        """Serve a request; whether the connection is kept."""
        conn.init()
        conn.parser.unreader.unread(bytes(conn.came))
        conn.came.clear()
        kept = super().handle(conn)
        # The rest of a request that was read along would be waited for; nobody sends so.
        if kept and conn.parser.unreader.buf.getvalue():
            kept = False
        if not kept:
            close_graceful(conn.sock, timeout=LINGER_SECONDS)
        return kept

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Keep the connection, or forget one that was closed."""
        self._served = deque(each for each in self._served if each[1] is not conn)
        if fs.cancelled() or fs.exception() or not fs.result():
            self._drop(conn)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Hang up on whoever takes too long; runs every second."""
        super().murder_pending()
        while self._is_crowded() and self.pending_conns:
            conn = self.pending_conns.popleft()
            self.poller.unregister(conn.sock)
            self._drop(conn)
        while self._served and self._served[0][0] < time.monotonic():
            _, conn = self._served.popleft()
            # Its thread reads or writes no more and closes it, or has done so a moment ago.
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RDWR)

    def _expect(self, conn: Any) -> None:
        """Give it time for a request."""
        conn.timeout = time.monotonic() + REQUEST_SECONDS
        conn.came, conn.wanted = bytearray(), 1
        self.pending_conns.append(conn)

    def _refuse(self, conn: Any, refusal: bytes) -> bool:
        """Answer a forged request; whether its connection is kept for another."""
        return _sent(conn.sock, refusal) and refusal is KEPT and bool(self.alive)

    def _is_crowded(self) -> bool:
        held = sum(len(conn.came) for conn in self.pending_conns)
        return self.nr_conns > self.worker_connections * CROWDED or held > HELD_LIMIT

    def _serve(self, conn: Any) -> None:
        conn.data_ready = True
        self._served.append((time.monotonic() + SERVE_SECONDS, conn))
        super().enqueue_req(conn)

    def _drop(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """A body that was not read is not waited for."""
        if not keepalive:
            return False
        return bool(conn.parser.finish_body(deadline=time.monotonic() + LINGER_SECONDS))


def _sent(client: socket.socket, answer: bytes) -> bool:
    """Whether all of it could be sent at once; it is no longer than a packet."""
    try:
        return client.send(answer) == len(answer)
    except OSError:
        return False


def _whole(came: bytes | bytearray) -> int:
    """How many bytes a request has that begins so, as far as is known; 0 if it is none."""
    head, end, _ = came.partition(b"\r\n\r\n")
    if len(head) > HEAD_LIMIT:
        return 0
    if not end:
        return len(came) + 1
    # Larger bodies are refused by their length alone.
    length = _LENGTH.search(head + b"\r")
    size = int(length[1]) if length else 0
    return len(head) + len(end) + (size if size <= BODY_LIMIT else 0)
