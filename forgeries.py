"""Refusing forged webhooks at little cost, before a thread is taken for them.

Strangers can send them by the thousand. What is no ordinary webhook of a bounded size is left to
the service, which checks everything that gets there.
"""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qsl

import structlog

from doors import FORM
from errors import ForgedRequest
from metrics import Metrics
from signature import SETTINGS, SIGNATURE, Signature

log = structlog.get_logger(__name__)

# The addresses that only Twilio may post to.
WEBHOOKS = ("/", "/status")
# Above what Twilio sends: 30 fields, and 4096 characters of 12 bytes each as they are written.
LARGEST = 64 * 1024
MOST_FIELDS = 100
# One line stands for all that were refused meanwhile.
LOG_SECONDS = 60.0

_HEAD = re.compile(rb"POST (/[^\s#]*) HTTP/1\.([01])\r\n((?:[!-9;-~]+:[^\r\n]*\r\n)*)\r\n")
# The headers that decide, and those that change where the body ends or what comes after it.
_UNUSUAL = ("transfer-encoding", "expect", "upgrade")
_DECIDING = (SIGNATURE.lower(), SETTINGS.lower(), "content-type", "content-length", "connection")
_HEADERS = re.compile(
    rf"^({'|'.join((*_DECIDING, *_UNUSUAL))}):[ \t]*([^\r]*?)[ \t]*\r$",
    re.IGNORECASE | re.MULTILINE,
)
_REFUSAL = (
    "HTTP/1.1 403 FORBIDDEN\r\n"
    "Content-Length: 0\r\n"
    "Cache-Control: no-store\r\n"
    "Connection: {}\r\n\r\n"
)
KEPT, CLOSED = (_REFUSAL.format(after).encode() for after in ("keep-alive", "close"))


class Forgeries:
    """Tells forged webhooks by their bytes; for one thread.

    ``unsigned`` is whether there are good ones without a signature.
    """

    def __init__(self, *, signature: Signature, metrics: Metrics, unsigned: bool) -> None:
        self._signature = signature
        self._metrics = metrics
        self._unsigned = unsigned
        self._refused = 0
        self._told_at = -LOG_SECONDS

    def refusal(self, request: bytes | bytearray) -> bytes | None:
        """The answer to a forged request, ``KEPT`` or ``CLOSED``; ``None`` for all others."""
        head = _HEAD.match(request)
        if not head or len(request) > head.end() + LARGEST:
            return None
        headers = _headers(head[3])
        body = bytes(request[head.end() :])
        if not headers or not self._is_webhook(head[1], headers, body):
            return None
        try:
            self._check(head[1].decode("latin-1"), headers, body)
        except ForgedRequest as error:
            self._note(error)
            closes = head[2] == b"0" or "close" in headers.get("connection", "").lower()
            return CLOSED if closes else KEPT
        return None

    def _is_webhook(self, target: bytes, headers: dict[str, str], body: bytes) -> bool:
        return (
            target.partition(b"?")[0].decode("latin-1") in WEBHOOKS
            and headers.get("content-type", "").partition(";")[0].strip().lower() == FORM
            and headers.get("content-length") == str(len(body))
            and body.count(b"&") < MOST_FIELDS
            and not (self._unsigned and SIGNATURE.lower() not in headers)
        )

    def _check(self, target: str, headers: dict[str, str], body: bytes) -> None:
        path, _, query = target.partition("?")
        # As the service reads it.
        fields = parse_qsl(body.decode(errors="replace"), True, errors="werkzeug.url_quote")
        given = {name: headers.get(name.lower(), "") for name in (SIGNATURE, SETTINGS)}
        self._signature.check(path, query, fields, given)

    def _note(self, error: ForgedRequest) -> None:
        self._metrics.count("signatures_rejected")
        self._refused += 1
        if time.monotonic() - self._told_at >= LOG_SECONDS:
            log.warning("Webhook refused", error=str(error), times=self._refused)
            self._told_at, self._refused = time.monotonic(), 0


def _headers(lines: bytes) -> dict[str, str]:
    """Those that decide, by lower-case name; empty where one is there twice, or is unusual."""
    found = _HEADERS.findall(lines.decode("latin-1"))
    headers = {name.lower(): value for name, value in found}
    odd = len(headers) < len(found) or any(name in headers for name in _UNUSUAL)
    return {} if odd else headers
