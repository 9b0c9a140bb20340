"""A service that sends its response slowly does not hold the command up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from cli import service_metrics, webhook
from cli.service_metrics import ServiceMetrics
from cli.webhook import Message, NotAccepted, post
from core.settings import Account, load_account

SECONDS = 0.3
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@pytest.fixture(params=[b"HTTP/1.1 200 OK\r\nX-Slow: ", HEAD], ids=["headers", "body"])
def slow(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that sends a byte every so often, for ten times as long."""
    stopped = threading.Event()

    def drip(connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            connection.sendall(request.param)
            for _ in range(100):
                connection.sendall(b"x")
                if stopped.wait(SECONDS / 10):
                    return

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=[server.accept()[0]], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        stopped.set()


def account(address: str) -> Account:
    given = {
        "TWILIO_ACCOUNT_SID": "AC" + "5a" * 16,
        "TWILIO_AUTH_TOKEN": "made-up",
        "TWILIO_WHATSAPP_FROM": "whatsapp:+15550100100",
    }
    return load_account(given, env_file="", url=address)


def test_the_whole_response_is_limited(slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "LIMIT", SECONDS)
    monkeypatch.setattr(service_metrics, "TIMEOUT", SECONDS)
    with pytest.raises(NotAccepted, match=r"No response within 0\.3 s"):
        post(Message("whatsapp:+15550101", "hello"), account(slow))
    assert ServiceMetrics(account(slow)).read() is None
