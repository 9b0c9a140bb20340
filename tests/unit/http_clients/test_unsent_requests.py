"""Requests that fail on real sockets, before they were sent or later."""

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

Treatment = Callable[[socket.socket], None]


class Peer:
    """Accepts one connection on loopback and treats it as ``treatment`` says."""

    def __init__(self, treatment: Treatment) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._treatment = treatment
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            self._treatment(connection)

    def stop(self) -> None:
        # Wakes an accept that nobody came to.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


StartPeer = Callable[[Treatment], Peer]


@pytest.fixture
def peer() -> Iterator[StartPeer]:
    peers: list[Peer] = []

    def start(treatment: Treatment) -> Peer:
        peers.append(Peer(treatment))
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


def failure(url: str, *, roots: Path | str = "", **options: object) -> requests.RequestException:
    settings = Settings.model_construct(REQUESTS_CA_BUNDLE=str(roots), SSL_CERT_FILE="")
    session = requests_session(settings, width=1)
    with session, pytest.raises(requests.RequestException) as caught:
        session.post(url, data="x", **({"timeout": 5} | options))  # type: ignore[arg-type]
    return caught.value


def hang_up(connection: socket.socket) -> None:
    connection.recv(65536)


def reset(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cut(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def talk_nonsense(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"nonsense\r\n\r\n")


def keep_silent(connection: socket.socket) -> None:
    """Until the other side leaves, politely or not."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65536):
            pass


@pytest.mark.parametrize("treatment", [hang_up, reset, cut, talk_nonsense])
def test_a_connection_that_broke_later_may_have_had_an_effect(
    peer: StartPeer, treatment: Treatment
) -> None:
    assert not request_was_not_sent(failure(f"http://127.0.0.1:{peer(treatment).port}/"))


def test_silence_may_have_had_an_effect(peer: StartPeer) -> None:
    error = failure(f"http://127.0.0.1:{peer(keep_silent).port}/", timeout=(5, 0.05))
    assert isinstance(error, requests.ReadTimeout)
    assert not request_was_not_sent(error)


def test_a_refused_connection_had_none() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = failure(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert isinstance(error, requests.ConnectionError)
    assert request_was_not_sent(error)


def test_an_unknown_host_had_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert request_was_not_sent(failure("http://nowhere.invalid/"))


def test_a_connection_that_never_came_about_had_none() -> None:
    """A full backlog swallows the SYN, as a dead host does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        error = failure(f"http://127.0.0.1:{address[1]}/", timeout=(0.2, 5))
        for filler in fillers:
            filler.close()
    assert isinstance(error, requests.ConnectTimeout)
    assert request_was_not_sent(error)


def test_an_untrusted_certificate_had_none(peer: StartPeer, authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def shake_hands(connection: socket.socket) -> None:
        with pytest.raises(OSError):
            context.wrap_socket(connection, server_side=True)

    error = failure(f"https://localhost:{peer(shake_hands).port}/")
    assert isinstance(error, requests.exceptions.SSLError)
    assert request_was_not_sent(error)


@pytest.mark.parametrize("treatment", [hang_up, reset, talk_nonsense])
def test_a_handshake_that_fails_had_none(peer: StartPeer, treatment: Treatment) -> None:
    assert request_was_not_sent(failure(f"https://localhost:{peer(treatment).port}/"))


def test_a_handshake_that_takes_too_long_had_none(peer: StartPeer) -> None:
    error = failure(f"https://localhost:{peer(keep_silent).port}/", timeout=(0.05, 5))
    assert isinstance(error, requests.ConnectTimeout)
    assert request_was_not_sent(error)


@pytest.mark.parametrize("library", ["requests", "httpx"])
def test_connecting_may_not_take_as_long_as_an_answer(peer: StartPeer, library: str) -> None:
    hurried = Settings.model_construct(CLOUD_PATIENCE=0.01, REQUESTS_CA_BUNDLE="", SSL_CERT_FILE="")
    url = f"https://localhost:{peer(keep_silent).port}/"
    began = time.monotonic()
    if library == "requests":
        with requests_session(hurried, width=1) as session, pytest.raises(requests.ConnectTimeout):
            session.get(url, timeout=2 * CONNECT_SECONDS)
    else:
        with httpx_client(hurried, width=1) as client, pytest.raises(httpx.ConnectTimeout):
            client.get(url, timeout=2 * CONNECT_SECONDS)
    assert time.monotonic() - began < CONNECT_SECONDS


def test_tls_that_breaks_after_the_request_may_have_had_an_effect(
    peer: StartPeer, authority: trustme.CA, roots: Path
) -> None:
    """The same class of error as an untrusted certificate, but the request was read."""
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

    error = failure(f"https://localhost:{peer(read_then_break).port}/", roots=roots)
    assert isinstance(error, requests.exceptions.SSLError)
    assert not request_was_not_sent(error)


def through(port: int, url: str, monkeypatch: pytest.MonkeyPatch) -> requests.RequestException:
    """What comes of a request by a proxy on that port."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    return failure(url)


URLS = ["http://provider.example/", "https://provider.example/"]


@pytest.mark.parametrize("url", URLS)
def test_a_proxy_that_cannot_be_reached_passed_nothing_on(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = through(unused.getsockname()[1], url, monkeypatch)
    assert isinstance(error, requests.exceptions.ProxyError)
    assert request_was_not_sent(error)


def test_a_proxy_that_makes_no_tunnel_passed_nothing_on(
    peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    error = through(peer(refuse).port, "https://provider.example/", monkeypatch)
    assert request_was_not_sent(error)
    assert "403" in str(error)


def test_a_proxy_that_hangs_up_may_have_passed_it_on(
    peer: StartPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """urllib3 says then that it could not connect to the proxy."""
    error = through(peer(hang_up).port, "http://provider.example/", monkeypatch)
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
def test_an_error_that_does_not_tell_may_have_had_an_effect(error: Exception) -> None:
    assert not request_was_not_sent(error)
