"""Limits for each request: its size, and the time to send it and to receive the response."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import gevent
from werkzeug.wsgi import ClosingIterator

# In bytes. Twilio's forms have a few KB; the longest text of WhatsApp fits, which is 4,096
# characters of up to 12 bytes each when encoded.
BODY_LIMIT = 64 * 1024
# The time to send the body; Twilio and routers send a request at once. For the head the limit is
# ``keepalive`` in gunicorn.conf.py.
BODY_SECONDS = 5.0
# The time limit for each write of the response.
RESPONSE_SECONDS = 30.0


class RequestLimits:
    """WSGI middleware for gunicorn; under other servers, for developers, it does nothing.

    A request reaches ``app`` with its whole body in memory. If the body is late, the response is
    408; if it is too large or of unknown length, ``app`` gets the request before the body is read,
    and refuses it.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        client: socket.socket | None = environ.get("gunicorn.socket")
        if client is None:
            return self._app(environ, start_response)
        client.settimeout(RESPONSE_SECONDS)
        is_read = _read_body(environ)
        if is_read is None:
            _hang_up(client)
            start_response("408 Request Timeout", [("Content-Length", "0")])
            return []
        response = self._app(environ, start_response)
        return ClosingIterator(response, lambda: _finish(client, is_read))


def _read_body(environ: dict[str, Any]) -> bool | None:
    """Read the body into memory; ``False`` if it must not be read, ``None`` if it is late."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > BODY_LIMIT or "HTTP_TRANSFER_ENCODING" in environ:
        return False
    body = b""
    try:
        with gevent.Timeout(BODY_SECONDS, TimeoutError):
            body = environ["wsgi.input"].read(length) if length else b""
    except OSError:
        return None
    environ["wsgi.input"] = io.BytesIO(body)
    return len(body) == length or None


def _finish(client: socket.socket, is_read: bool) -> None:
    """Leave the connection to gunicorn for the next request, unless a body is still to come."""
    with suppress(OSError):
        client.settimeout(None)
    if not is_read:
        # Otherwise gunicorn would wait for the rest of the body.
        _hang_up(client, socket.SHUT_RD)


def _hang_up(client: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with suppress(OSError):
        client.shutdown(how)
