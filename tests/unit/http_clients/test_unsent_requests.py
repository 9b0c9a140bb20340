"""Requests that fail on real sockets, before or after they were sent."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import requests
import trustme

from core.settings import Settings
from http_clients.adapters import CONNECT_SECONDS
from http_clients.httpx_transport import httpx_client
from http_clients.sessions import requests_session
from http_clients.unsent_requests import request_was_not_sent

Behaviour = Callable[[socket.socket], None]


class Peer:
    """Accepts one connection on loopback and passes it to ``behaviour``."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._behaviour = behaviour
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            self._behaviour(connection)

    def stop(self) -> None:
        # Ends an accept that is still waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


StartPeer = Callable[[Behaviour], Peer]


@pytest.fixture
def peer() -> Iterator[StartPeer]:
    peers: list[Peer] = []

    def start(behaviour: Behaviour) -> Peer:
        peers.append(Peer(behaviour))
        return peers[-1]

    yield start
    for each in peers:
        each.stop()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def roots(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("roots") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def post_and_fail(
    url: str, *, roots: Path | str = "", **options: object
) -> requests.RequestException:
    settings = Settings.model_construct(REQUESTS_CA_BUNDLE=str(roots), SSL_CERT_FILE="")
    session = requests_session(settings, connections=1)
    with session, pytest.raises(requests.RequestException) as caught:
        session.post(url, data="x", **({"timeout": 5} | options))  # type: ignore[arg-type]
    return caught.value


def hang_up(connection: socket.socket) -> None:
    connection.recv(65536)


def reset(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def truncate(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def send_nonsense(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"nonsense\r\n\r\n")


def keep_silent(connection: socket.socket) -> None:
    """Until the client closes or resets the connection."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65536):
            pass


@pytest.mark.parametrize("behaviour", [hang_up, reset, truncate, send_nonsense])
def test_a_request_whose_connection_broke_may_have_had_an_effect(
    peer: StartPeer, behaviour: Behaviour
) -> None:
    assert not request_was_not_sent(post_and_fail(f"http://127.0.0.1:{peer(behaviour).port}/"))


def test_a_request_without_a_response_may_have_had_an_effect(peer: StartPeer) -> None:
    error = post_and_fail(f"http://127.0.0.1:{peer(keep_silent).port}/", timeout=(5, 0.05))
    assert isinstance(error, requests.ReadTimeout)
    assert not request_was_not_sent(error)


def test_a_refused_connection_had_no_effect() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = post_and_fail(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert isinstance(error, requests.ConnectionError)
    assert request_was_not_sent(error)


def test_an_unknown_host_had_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert request_was_not_sent(post_and_fail("http://nowhere.invalid/"))


def test_a_connection_that_timed_out_had_no_effect() -> None:
    """A full backlog drops the SYN, as a dead host does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        error = post_and_fail(f"http://127.0.0.1:{address[1]}/", timeout=(0.2, 5))
        for filler in fillers:
            filler.close()
    assert isinstance(error, requests.ConnectTimeout)
    assert request_was_not_sent(error)


def test_an_untrusted_certificate_had_no_effect(peer: StartPeer, authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def shake_hands(connection: socket.socket) -> None:
        with pytest.raises(OSError):
            context.wrap_socket(connection, server_side=True)

    error = post_and_fail(f"https://localhost:{peer(shake_hands).port}/")
    assert isinstance(error, requests.exceptions.SSLError)
    assert request_was_not_sent(error)


@pytest.mark.parametrize("behaviour", [hang_up, reset, send_nonsense])
def test_a_failed_handshake_had_no_effect(peer: StartPeer, behaviour: Behaviour) -> None:
    assert request_was_not_sent(post_and_fail(f"https://localhost:{peer(behaviour).port}/"))


def test_a_handshake_that_timed_out_had_no_effect(peer: StartPeer) -> None:
    error = post_and_fail(f"https://localhost:{peer(keep_silent).port}/", timeout=(0.05, 5))
    assert isinstance(error, requests.ConnectTimeout)
    assert request_was_not_sent(error)


@pytest.mark.parametrize("library", ["requests", "httpx"])
def test_the_time_to_connect_is_limited_apart_from_the_response(
    peer: StartPeer, library: str
) -> None:
    settings = Settings.model_construct(
        PROVIDER_TIMEOUT_FACTOR=0.01, REQUESTS_CA_BUNDLE="", SSL_CERT_FILE=""
    )
    url = f"https://localhost:{peer(keep_silent).port}/"
    began = time.monotonic()
    if library == "requests":
        with (
            requests_session(settings, connections=1) as session,
            pytest.raises(requests.ConnectTimeout),
        ):
            session.get(url, timeout=2 * CONNECT_SECONDS)
    else:
        with httpx_client(settings, connections=1) as client, pytest.raises(httpx.ConnectTimeout):
            client.get(url, timeout=2 * CONNECT_SECONDS)
    assert time.monotonic() - began < CONNECT_SECONDS


def test_tls_that_breaks_after_the_request_may_have_had_an_effect(
    peer: StartPeer, authority: trustme.CA, roots: Path
) -> None:
    """requests raises the same class as for an untrusted certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def read_then_break(connection: socket.socket) -> None:
        secured = context.wrap_socket(connection, server_side=True)
        request = b""
        while not request.endswith(b"\r\n\r\nx"):
            request += secured.recv(65536)
        with socket.socket(fileno=secured.detach()) as plain:
            plain.sendall(b"this is no TLS record")
            keep_silent(plain)

    error = post_and_fail(f"https://localhost:{peer(read_then_break).port}/", roots=roots)
    assert isinstance(error, requests.exceptions.SSLError)
    assert not request_was_not_sent(error)


def post_by_proxy(
    port: int, url: str, monkeypatch: pytest.MonkeyPatch
) -> requests.RequestException:
    """Fail to post by a proxy on ``port``; returns the error."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    return post_and_fail(url)


URLS = ["http://provider.example/", "https://provider.example/"]


@pytest.mark.parametrize("url", URLS)
def test_an_unreachable_proxy_had_no_effect(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = post_by_proxy(unused.getsockname()[1], url, monkeypatch)
    assert isinstance(error, requests.exceptions.ProxyError)
    assert request_was_not_sent(error)


def test_a_proxy_that_refuses_the_tunnel_had_no_effect(
    peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    error = post_by_proxy(peer(refuse).port, "https://provider.example/", monkeypatch)
    assert request_was_not_sent(error)
    assert "403" in str(error)


def test_a_proxy_that_hangs_up_may_have_passed_the_request_on(
    peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """urllib3 reports that as a failure to connect to the proxy."""
    error = post_by_proxy(peer(hang_up).port, "http://provider.example/", monkeypatch)
    assert isinstance(error, requests.exceptions.ProxyError)
    assert not request_was_not_sent(error)


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError(),
        requests.ConnectionError("text"),
        requests.Timeout(),
        requests.exceptions.SSLError(),
        requests.exceptions.ChunkedEncodingError("broken"),
        ConnectionRefusedError(),
        ValueError(),
    ],
)
def test_any_other_error_may_have_had_an_effect(error: Exception) -> None:
    assert not request_was_not_sent(error)
