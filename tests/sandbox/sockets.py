"""Sockets for both ends of a TCP relay."""

from __future__ import annotations

import socket
from contextlib import suppress

from sandbox.tcp_relay import TcpRelay

TIMEOUT = 30.0


def call(relay: TcpRelay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=TIMEOUT)


def accept(listening: socket.socket) -> socket.socket:
    connection, _ = listening.accept()
    connection.settimeout(TIMEOUT)
    return connection


def read(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closes or resets the connection without sending data."""
    with suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True
