"""What a client may take of the server: time to send a request, and time to take the answer."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import gevent
from werkzeug.wsgi import ClosingIterator

# Twilio's forms are a few KB; the longest text that WhatsApp takes, 4,096 characters of up to 12
# bytes each as they are written, fits.
BODY_LIMIT = 64 * 1024
# Twilio and routers send a request at once; its head has as long as gunicorn.conf.py keeps idle
# connections.
BODY_SECONDS = 5.0
ANSWER_SECONDS = 30.0


class RequestLimits:
    """WSGI middleware for gunicorn; other servers are for a developer's own machine.

    ``app`` gets bodies that have come whole, and others not at all.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        client: socket.socket | None = environ.get("gunicorn.socket")
        if client is None:
            return self._app(environ, start_response)
        client.settimeout(ANSWER_SECONDS)
        is_read = _read_body(environ)
        if is_read is None:
            _hang_up(client)
            start_response("408 Request Timeout", [("Content-Length", "0")])
            return []
        answer = self._app(environ, start_response)
        return ClosingIterator(answer, lambda: _go_on(client, is_read))


def _read_body(environ: dict[str, Any]) -> bool | None:
    """Whether the body was read, so that it is in memory; ``None`` where it came too late."""
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


def _go_on(client: socket.socket, is_read: bool) -> None:
    """Let the connection be idle for as long as gunicorn keeps it, unless a body is to come."""
    with suppress(OSError):
        client.settimeout(None)
    if not is_read:
        # Otherwise gunicorn would wait for the rest.
        _hang_up(client, socket.SHUT_RD)


def _hang_up(client: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with suppress(OSError):
        client.shutdown(how)
