"""Requests that cost a server far more than whoever sends them; none is signed.

Also what tests/security/test_http_floods.py sends.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from itertools import islice, product

Requests = Sequence[bytes]

FORM = "Content-Type: application/x-www-form-urlencoded"
# What the service takes of a body, and somewhat less than gunicorn and we take of a head.
BODY_BYTES = 256 * 1024
RUN_BYTES = 15_900
CHUNKED = "Transfer-Encoding: chunked"

# As many different fields as a body holds.
_NAMES = [
    f"{''.join(name)}&".encode()
    for name in islice(product(string.ascii_letters, repeat=3), BODY_BYTES // 4)
]


def post(*lines: str, body: bytes = b"") -> bytes:
    """A form posted to the webhook, with these header lines and no others but the usual."""
    head = ["POST / HTTP/1.1", "Host: bot.example.com", FORM, *lines, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def _sized(body: bytes) -> bytes:
    return post(f"Content-Length: {len(body)}", "X-Twilio-Signature: a guess", body=body)


def _with_run(before: str, unit: str, after: str) -> bytes:
    """A header line with a long run of ``unit`` in it."""
    return post(f"{before}{unit * (RUN_BYTES // len(unit))}{after}", "Content-Length: 0")


# Lengths of a body that never comes, or not so.
PADDED_LENGTHS: Requests = (
    post("Content-Length: 0000000005"),
    post(f"Content-Length: {'0' * 200}5"),
)
ODD_LENGTHS: Requests = (
    post("Content-Length: +5"),
    post("Content-Length: -5"),
    post("Content-Length: 5, 5"),
    post("Content-Length: 0x5"),
    post("Content-Length: 1_0"),
    post("Content-Length: 5.0"),
    post("Content-Length: ²"),
    post("Content-Length:"),
    post("Content-Length : 5"),
    post("Content-Length:", " 5"),
    post("Content-Length: 1000000005"),
    post("Content-Length: 5", "Content-Length: 5"),
    post("Content-Length: 0", "Content-Length: 5"),
    post("Content-Length: 5", "Expect: 100-continue"),
    post(body=b"Body=hello"),
    post(CHUNKED),
    post(CHUNKED, "Content-Length: 5"),
    post(CHUNKED, body=b"5\r\nBo"),
    post(CHUNKED, body=b"1\r\nB\r\n" * 2000),
)
RUNS_OF_BLANKS: Requests = (
    _with_run("Connection: a", " ", "a"),
    _with_run("Connection: a", "\t", "a"),
    _with_run("Content-Type: a", " ", "a"),
    _with_run("X-Twilio-Signature: a", " ", "a"),
    _with_run("Content-Length: 5", " ", "x"),
)
OTHER_RUNS: Requests = (
    _with_run("Content-Length:", " ", "5x"),
    _with_run("a", ":", ""),
    _with_run("Connection: a", ",", "a"),
    _with_run("Cookie: a", "=;", ""),
    _with_run("Content-Type: a;b=", '"\\', ""),
    _with_run(FORM, ";a=b", ""),
    _with_run("Accept: a/b", ",a/b;q=0.1", ""),
    _with_run("Range: bytes=0-1", ",0-1", ""),
    _with_run("X-Any: a", "\r", "a"),
    _with_run("", "a:\r\n", "a:"),
    _with_run("", "a\r\n", "a"),
)
COSTLY_BODIES: Requests = (
    _sized(b"a&" * (BODY_BYTES // 2)),
    _sized(b"".join(_NAMES)),
    _sized(b"a=" + b"%" * (BODY_BYTES - 2)),
    _sized(b"a=" + b"%ff" * (BODY_BYTES // 3 - 1)),
    _sized(b"%ff&" * (BODY_BYTES // 4)),
)
OTHER_BODIES: Requests = (
    _sized(b"&" * BODY_BYTES),
    _sized(b"a=" + b"\xff" * (BODY_BYTES - 2)),
    _sized(b"a=" + b"a" * (BODY_BYTES - 2)),
    _sized(b"a" * (BODY_BYTES + 1)),
    # As large, and of as many fields, as what is looked at before a thread takes it.
    _sized(b"a=" + b"%ff" * (64 * 1024 // 3 - 1)),
    _sized((b"%ff" * 216 + b"&") * 99),
)
