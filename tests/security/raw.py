"""Requests byte by byte, as no HTTP client would send them."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlencode

FORM = ("Content-Type", "application/x-www-form-urlencoded")
TIMEOUT_SECONDS = 30.0


def request(
    line: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", before: bytes = b""
) -> bytes:
    """A request with ``Connection: close``; the headers are sent as given."""
    lines = [line, *(f"{name}: {value}" for name, value in headers), "Connection: close", "", ""]
    return before + "\r\n".join(lines).encode() + body


def form_request(target: str, headers: Iterable[tuple[str, str]], form: dict[str, str]) -> bytes:
    """A request that posts a form to ``target``."""
    body = urlencode(form).encode()
    length = ("Content-Length", str(len(body)))
    return request(f"POST {target} HTTP/1.1", [FORM, length, *headers], body)


def answer(port: int, sent: bytes, client_address: str = "127.0.0.1") -> bytes:
    """Send a request and return all bytes until the service closes the connection."""
    received = b""
    with socket.create_connection(
        ("127.0.0.1", port), TIMEOUT_SECONDS, source_address=(client_address, 0)
    ) as client:
        client.sendall(sent)
        with suppress(ConnectionResetError):
            while more := client.recv(65536):
                received += more
    return received


def status(port: int, sent: bytes, client_address: str = "127.0.0.1") -> int:
    """The HTTP status of the answer; 0 if there is none."""
    first = answer(port, sent, client_address).partition(b"\r\n")[0].split(b" ")
    return int(first[1]) if len(first) > 1 else 0
