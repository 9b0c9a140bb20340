"""Unsigned requests that cost a server far more than their sender.

tests/security/test_http_floods.py sends them too.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from itertools import islice, product

Requests = Sequence[bytes]

FORM = "Content-Type: application/x-www-form-urlencoded"
# The largest body that the service accepts.
BODY_BYTES = 256 * 1024
# A little less than the longest header that gunicorn and the service accept.
RUN_BYTES = 15_900
CHUNKED = "Transfer-Encoding: chunked"

# As many different field names as fit into a body.
_NAMES = [
    f"{''.join(name)}&".encode()
    for name in islice(product(string.ascii_letters, repeat=3), BODY_BYTES // 4)
]


def post(*lines: str, body: bytes = b"") -> bytes:
    """A form posted to the webhook with the usual header lines and these."""
    head = ["POST / HTTP/1.1", "Host: localhost", FORM, *lines, "", ""]
    return "\r\n".join(head).encode("latin-1") + body


def _with_length(body: bytes) -> bytes:
    return post(f"Content-Length: {len(body)}", "X-Twilio-Signature: a guess", body=body)


def _with_run(before: str, unit: str, after: str) -> bytes:
    """A request with a header line that repeats ``unit`` many times."""
    return post(f"{before}{unit * (RUN_BYTES // len(unit))}{after}", "Content-Length: 0")


# The announced body never arrives, or has another length.
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
EXPENSIVE_BODIES: Requests = (
    _with_length(b"a&" * (BODY_BYTES // 2)),
    _with_length(b"".join(_NAMES)),
    _with_length(b"a=" + b"%" * (BODY_BYTES - 2)),
    _with_length(b"a=" + b"%ff" * (BODY_BYTES // 3 - 1)),
    _with_length(b"%ff&" * (BODY_BYTES // 4)),
)
OTHER_BODIES: Requests = (
    _with_length(b"&" * BODY_BYTES),
    _with_length(b"a=" + b"\xff" * (BODY_BYTES - 2)),
    _with_length(b"a=" + b"a" * (BODY_BYTES - 2)),
    _with_length(b"a" * (BODY_BYTES + 1)),
    # The largest body, with the most fields, that is parsed before a thread takes the request.
    _with_length(b"a=" + b"%ff" * (64 * 1024 // 3 - 1)),
    _with_length((b"%ff" * 216 + b"&") * 99),
)
