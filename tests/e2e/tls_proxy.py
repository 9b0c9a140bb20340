"""An HTTPS proxy that leads the providers' real names to stand-ins, speaking TLS in their place."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path

import trustme


class TlsProxy:
    """``HTTPS_PROXY`` for a client that trusts ``ca_file``.

    ``hosts`` maps a name to the loopback port that serves it; other names are refused.
    """

    def __init__(self, *, hosts: Mapping[str, int], folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*hosts).configure_cert(self._context)
        self._hosts = dict(hosts)
        self.tunnels: list[str] = []
        self.refused: set[str] = set()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    proxy._serve(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> TlsProxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, client: socket.socket) -> None:
        name = _connect_target(client)
        if name not in self._hosts:
            self.refused.add(name)
            client.sendall(b"HTTP/1.1 502 Unknown host\r\n\r\n")
            return
        self.tunnels.append(name)
        client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with (
            self._context.wrap_socket(client, server_side=True) as inside,
            socket.create_connection(("127.0.0.1", self._hosts[name])) as server,
        ):
            threading.Thread(target=pump, args=(server, inside), daemon=True).start()
            pump(inside, server)


def _connect_target(client: socket.socket) -> str:
    """The name in ``CONNECT name:443 HTTP/1.1``."""
    head = b""
    while b"\r\n\r\n" not in head:
        received = client.recv(4096)
        if not received:
            raise ConnectionAbortedError
        head += received
    return head.split(b" ")[1].decode().rpartition(":")[0]


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while received := source.recv(65536):
            target.sendall(received)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
