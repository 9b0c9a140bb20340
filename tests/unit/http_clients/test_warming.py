"""What is done before a turn needs it, and what is said where that fails."""

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

PATIENCE = 10.0
INTERVAL = 0.001


class Server(LoopbackServer):
    """Counts what comes on each connection."""

    def __init__(self, port: int = 0) -> None:
        app = Flask(__name__)
        app.add_url_rule("/", "door", self._knocked, methods=["HEAD"])
        super().__init__(app=app, name="test", port=port)
        self.changed = threading.Condition()
        self.knocks: Counter[int] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _knocked(self) -> tuple[str, int]:
        assert "Authorization" not in request.headers
        with self.changed:
            self.knocks[int(request.environ["REMOTE_PORT"])] += 1
            self.changed.notify_all()
        return "", 404

    def wait_for_rounds(self, number: int) -> None:
        """Until all connections were used so often."""

        def used() -> bool:
            counts = sorted(self.knocks.values())
            return len(counts) >= CONNECTIONS and counts[0] >= number

        with self.changed:
            assert self.changed.wait_for(used, PATIENCE), self.knocks


class Token(AccessToken):
    """Says that it was renewed."""

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
    session = requests_session(settings, width=1)
    return lambda: [Route(session, address) for address in addresses]


@pytest.fixture
def started() -> Iterator[list[ConnectionWarmer]]:
    """What is stopped in the end."""
    warmers: list[ConnectionWarmer] = []
    yield warmers
    for warmer in warmers:
        warmer.stop()


def start(started: list[ConnectionWarmer], token: Token, *clients: Routes) -> None:
    warmer = ConnectionWarmer(token=token, clients=clients, interval=INTERVAL)
    started.append(warmer)
    warmer.start()


def test_all_connections_are_used_again_and_again_and_none_is_made_anew(
    server: Server, token: Token, started: list[ConnectionWarmer]
) -> None:
    start(started, token, routes_to(server.url))
    server.wait_for_rounds(5)
    assert server.connections == CONNECTIONS
    assert token.renewed.wait(PATIENCE)


def test_a_host_that_cannot_be_reached_is_named_once_and_holds_nothing_up(
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
        server.wait_for_rounds(max(server.knocks.values()) + 2)
        nowhere.stop()
    assert [line["event"] for line in lines if line["log_level"] == "info"][:1] == ["Host reached"]


def test_what_goes_wrong_otherwise_is_logged_and_tried_again(
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
