"""Connections and the token are ready before a turn needs them; failures are logged."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from flask import Flask, request
from structlog.testing import capture_logs

from core.settings import Settings
from http_clients.oauth_token import AccessToken
from http_clients.routes import CONNECTIONS, Route
from http_clients.sessions import requests_session
from http_clients.warming import ConnectionWarmer, Routes
from sandbox.bridge import free_port
from sandbox.loopback import LoopbackServer

WAIT_SECONDS = 10.0
INTERVAL = 0.001


class Server(LoopbackServer):
    """Counts the requests on each connection."""

    def __init__(self, port: int = 0) -> None:
        app = Flask(__name__)
        app.add_url_rule("/", "root", self._count_request, methods=["HEAD"])
        super().__init__(app=app, name="test", port=port)
        self.changed = threading.Condition()
        self.requests: Counter[int] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _count_request(self) -> tuple[str, int]:
        assert "Authorization" not in request.headers
        with self.changed:
            self.requests[int(request.environ["REMOTE_PORT"])] += 1
            self.changed.notify_all()
        return "", 404

    def wait_for_rounds(self, number: int) -> None:
        """Wait until each connection was used ``number`` times."""

        def is_used() -> bool:
            counts = sorted(self.requests.values())
            return len(counts) >= CONNECTIONS and counts[0] >= number

        with self.changed:
            assert self.changed.wait_for(is_used, WAIT_SECONDS), self.requests


class Token(AccessToken):
    """Sets an event when it is renewed."""

    def __init__(self) -> None:
        self.renewed = threading.Event()

    def renew(self) -> None:
        self.renewed.set()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def token() -> Token:
    return Token()


def routes_to(*addresses: str) -> Routes:
    settings = Settings.model_construct(REQUESTS_CA_BUNDLE="", SSL_CERT_FILE="")
    session = requests_session(settings, connections=1)
    return lambda: [Route(session, address) for address in addresses]


@pytest.fixture
def started() -> Iterator[list[ConnectionWarmer]]:
    """Warmers to stop after the test."""
    warmers: list[ConnectionWarmer] = []
    yield warmers
    for warmer in warmers:
        warmer.stop()


def start(started: list[ConnectionWarmer], token: Token, *clients: Routes) -> None:
    warmer = ConnectionWarmer(token=token, clients=clients, interval=INTERVAL)
    started.append(warmer)
    warmer.start()


def test_all_connections_are_used_again_and_again(
    server: Server, token: Token, started: list[ConnectionWarmer]
) -> None:
    start(started, token, routes_to(server.url))
    server.wait_for_rounds(5)
    assert server.connections == CONNECTIONS
    assert token.renewed.wait(WAIT_SECONDS)


def test_an_unreachable_host_is_logged_once_and_delays_no_other(
    server: Server, token: Token, started: list[ConnectionWarmer]
) -> None:
    nowhere = Server(free_port())
    with capture_logs() as lines:
        start(started, token, routes_to(nowhere.url, server.url), routes_to(nowhere.url))
        server.wait_for_rounds(5)
        warned = [line for line in lines if line["log_level"] == "warning"]
        assert [line["host"] for line in warned] == [f"127.0.0.1:{nowhere.port}"]
        nowhere.start()
        nowhere.wait_for_rounds(1)
        server.wait_for_rounds(max(server.requests.values()) + 2)
        nowhere.stop()
    assert [line["event"] for line in lines if line["log_level"] == "info"][:1] == ["Host reached"]


def test_an_unexpected_error_is_logged_and_warming_goes_on(
    server: Server, token: Token, started: list[ConnectionWarmer]
) -> None:
    known = routes_to(server.url)
    failures = [OSError("unexpected")]

    def routes() -> list[Route]:
        if failures:
            raise failures.pop()
        return list(known())

    with capture_logs() as lines:
        start(started, token, routes)
        server.wait_for_rounds(1)
    assert [line["log_level"] for line in lines if line["log_level"] != "debug"] == ["error"]
