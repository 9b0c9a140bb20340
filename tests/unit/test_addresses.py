"""Which addresses are connected to, with a resolver that says what a test wants."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest
import requests
import trustme

import addresses
from addresses import PublicAdapter, is_public
from errors import MediaForbidden
from settings import Settings
from turn_parts import media_of

TLS = ssl.create_default_context()
CDN = "mms.twiliocdn.com"


class Server:
    """Answers on every loopback address, and counts who connects."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        server = self
        self.connections = 0
        self.hosts: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def setup(self) -> None:
                server.connections += 1
                super().setup()

            def do_GET(self) -> None:
                server.hosts.append(self.headers["Host"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Nothing to tell."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def session(
    answers: dict[str, list[str]] | Callable[[str], list[str]],
    named: tuple[str, ...] = (),
    context: ssl.SSLContext = TLS,
) -> requests.Session:
    """With a resolver that knows ``answers``, and no proxy."""
    look_up = answers if callable(answers) else answers.__getitem__
    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, PublicAdapter(named=named, context=context, width=1, look_up=look_up))
    return session


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's addresses count as public, as far as a test can connect."""
    monkeypatch.setattr(addresses, "is_public", lambda address: address.startswith("127.0.0."))


@pytest.mark.parametrize(
    "address",
    "8.8.8.8 54.172.60.0 2606:4700::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1".split(),
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    """127.0.0.1 127.8.9.10 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254
    100.64.0.1 0.0.0.0 192.0.2.1 198.18.0.1 224.0.0.1 240.0.0.1 255.255.255.255
    ::1 :: fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 fec0::1 ff02::1 2001:db8::1
    ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::1
    2002:7f00:1::1 2002:a9fe:a9fe::1""".split(),
)
def test_addresses_within_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["169.254.169.254"], ["::1"], []]
)
def test_a_name_that_leads_within_is_refused(server: Server, scheme: str, found: list[str]) -> None:
    """Before anything is connected to, also where other addresses of it are fine."""
    with pytest.raises(MediaForbidden):
        session({CDN: found}).get(f"{scheme}://{CDN}:{server.port}/", timeout=5)
    assert server.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "127.1", "0.0.0.0", "2130706433"]
)
def test_addresses_as_such_are_refused_too(server: Server, host: str) -> None:
    with pytest.raises(MediaForbidden):
        session(addresses.look_up).get(f"http://{host}:{server.port}/", timeout=5)
    assert server.connections == 0


def test_the_address_that_was_judged_is_connected_to(server: Server, anywhere: None) -> None:
    """The name is resolved once; nobody here could resolve it again."""
    asked: list[str] = []

    def look_up(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    answer = session(look_up).get(f"http://{CDN}:{server.port}/", timeout=5)
    assert answer.ok
    assert asked == [CDN]
    assert server.hosts == [f"{CDN}:{server.port}"]


@pytest.mark.parametrize("found", [["127.0.0.9", "127.0.0.1"], ["127.0.0.1", "127.0.0.9"]])
def test_further_addresses_are_tried(server: Server, anywhere: None, found: list[str]) -> None:
    """Only one of the two answers."""
    assert session({CDN: found}).get(f"http://{CDN}:{server.port}/", timeout=5).ok


def test_no_address_that_answers_is_a_connection_that_fails(anywhere: None) -> None:
    with socket.socket() as closed, pytest.raises(requests.ConnectionError):
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        session({CDN: ["127.0.0.9", "127.0.0.1"]}).get(f"http://{CDN}:{port}/", timeout=5)


def test_a_name_that_is_unknown_is_a_connection_that_fails() -> None:
    def unknown(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(requests.ConnectionError):
        session(unknown).get(f"http://{CDN}/", timeout=5)


@pytest.mark.parametrize("name", [CDN, "other.example"])
def test_tls_goes_by_the_name(anywhere: None, name: str) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(CDN).configure_cert(context)
    roots = ssl.create_default_context()
    authority.configure_trust(roots)
    server = Server(context)
    try:
        client = session({name: ["127.0.0.1"]}, context=roots)
        if name == CDN:
            assert client.get(f"https://{name}:{server.port}/", timeout=5).ok
        else:
            with pytest.raises(requests.exceptions.SSLError):
                client.get(f"https://{name}:{server.port}/", timeout=5)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("named", "host"),
    [
        ("http://127.0.0.1:{port}", "127.0.0.1"),
        ("localhost:{port}", "localhost"),
        ("LOCALHOST:{port}", "localhost"),
    ],
)
def test_what_the_operator_names_on_this_machine_is_let_through(
    server: Server, named: str, host: str
) -> None:
    client = session({}, (named.format(port=server.port),))
    assert client.get(f"http://{host}:{server.port}/", timeout=5).ok


@pytest.mark.parametrize("named", ["10.0.0.1", "inner.example", "127.1", "localhost.example"])
def test_what_only_leads_there_is_not(server: Server, named: str) -> None:
    with pytest.raises(MediaForbidden):
        session(lambda host: ["127.0.0.1"], (named,)).get(
            f"http://{named}:{server.port}/", timeout=5
        )
    assert server.connections == 0


def test_recordings_are_fetched_so(server: Server) -> None:
    """``127.1`` leads to this machine without saying so."""
    settings = SimpleNamespace(
        TURN_THREADS=1,
        TWILIO_API_URL="http://127.0.0.1:1",
        TWILIO_MEDIA_HOSTS=("localhost", "127.1"),
        CLOUD_PATIENCE=1.0,
        TWILIO_ACCOUNT_SID="AC1",
        TWILIO_AUTH_TOKEN="token",
        REQUESTS_CA_BUNDLE="",
        SSL_CERT_FILE="",
    )
    media = media_of(cast(Settings, settings))
    assert media._session.get(f"http://localhost:{server.port}/", timeout=5).ok
    with pytest.raises(MediaForbidden):
        media._session.get(f"http://127.1:{server.port}/", timeout=5)
