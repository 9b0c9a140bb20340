"""A TLS proxy in front of a stand-in that can be made unreachable in several ways."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import Literal

import trustme

from sandbox.bridge import free_port
from tests.e2e.tls_proxy import pump

Way = Literal["open", "refused", "tls", "stalled"]
BACKLOG = 128


class FaultProxy:
    """``https://localhost:PORT`` in front of the loopback port ``target``.

    ``way``, to be set at any time: ``open``; ``refused``, where nobody listens; ``tls``, where the
    certificate is of an authority that nobody trusts; ``stalled``, where no handshake is answered.
    A change closes all connections. ``turned_away`` holds when (monotonic seconds) clients
    connected during ``tls`` or ``stalled``.
    """

    def __init__(self, *, authority: trustme.CA, target: int) -> None:
        self._trusted = _context(authority)
        self._untrusted = _context(trustme.CA())
        self._target = target
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._way: Way = "open"
        self.turned_away: list[float] = []
        # The port stays bound while ``refused``, so that no other process can get it.
        port = free_port()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self.host = f"localhost:{port}"
        self.url = f"https://{self.host}"
        self._listen()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.way = "refused"
        self._listener.close()

    @property
    def way(self) -> Way:
        return self._way

    @way.setter
    def way(self, way: Way) -> None:
        shut, self._way = self._way == "refused", way
        if way == "refused" and not shut:
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if shut and way != "refused":
            self._listen()

    def _listen(self) -> None:
        self._listener.listen(BACKLOG)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._ends.add(client)
            way = self._way
            if way != "open":
                self.turned_away.append(time.monotonic())
        with contextlib.suppress(OSError), client:
            if way == "stalled":
                _ignore(client)
            else:
                self._lead_on(client, self._trusted if way == "open" else self._untrusted)

    def _lead_on(self, client: socket.socket, context: ssl.SSLContext) -> None:
        with context.wrap_socket(client, server_side=True) as inside:
            with self._lock:
                self._ends.add(inside)
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                threading.Thread(target=pump, args=(server, inside), daemon=True).start()
                pump(inside, server)


def _ignore(client: socket.socket) -> None:
    """Read until the client closes the connection."""
    while client.recv(65536):
        pass


def _context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context
