"""When a request has come in whole, and what becomes of a connection that takes too long."""

from __future__ import annotations

import socket
from collections import deque
from types import SimpleNamespace

import pytest

import web_worker
from doors import BODY_LIMIT
from web_worker import HEAD_LIMIT, SERVE_SECONDS, WebWorker, _whole

HEAD = b"POST / HTTP/1.1\r\nHost: example.com\r\n"


def with_length(value: bytes) -> bytes:
    return HEAD + b"Content-Length: " + value + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("came", "missing"),
    [
        (b"", 1),
        (b"P", 1),
        (HEAD, 1),
        (HEAD + b"\r", 1),
        (HEAD + b"\r\n", 0),
        (with_length(b"10"), 10),
        (with_length(b"10") + b"1234", 6),
        (with_length(b"10") + b"1234567890", 0),
        (HEAD + b"content-length:\t10 \r\n\r\n", 10),
        (HEAD + b"X-Content-Length: 10\r\n\r\n", 0),
        # What is refused by its length alone, and what gunicorn refuses.
        (with_length(b"%d" % (BODY_LIMIT + 1)), 0),
        (with_length(b"9" * 30), 0),
        (with_length(b"-1"), 0),
        (with_length(b"x"), 0),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", 0),
    ],
)
def test_what_is_missing(came: bytes, missing: int) -> None:
    assert _whole(came) - len(came) == missing


def test_a_head_without_end_is_none() -> None:
    assert _whole(b"x" * (HEAD_LIMIT + 1)) == 0
    assert _whole(b"x" * (HEAD_LIMIT + 1) + b"\r\n\r\n") == 0


@pytest.fixture
def worker() -> WebWorker:
    """One that is not run."""
    worker = WebWorker.__new__(WebWorker)
    worker.pending_conns = deque()
    worker.nr_conns, worker.worker_connections = 1, 10
    return worker


@pytest.mark.parametrize("late", [False, True])
def test_a_thread_that_reads_or_writes_for_too_long_is_woken(
    worker: WebWorker, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """One that has closed the connection meanwhile is none of them."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        closed = socket.socket()
        closed.close()
        worker._served = deque((SERVE_SECONDS, SimpleNamespace(sock=it)) for it in (closed, ours))
        now = SERVE_SECONDS + (1 if late else -1)
        monkeypatch.setattr(web_worker, "time", SimpleNamespace(monotonic=lambda: now))
        worker.murder_pending()
        theirs.setblocking(False)
        if late:
            assert theirs.recv(1) == b""
        else:
            with pytest.raises(BlockingIOError):
                theirs.recv(1)
