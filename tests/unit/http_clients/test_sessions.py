"""Connections that are kept, shared and trusted as the operator wants it."""

from __future__ import annotations

import gzip
import io
import itertools
import random
import ssl
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import requests
import trustme
from flask import Flask, Response, request
from werkzeug.serving import make_server

from core.deadline import Deadline
from core.errors import DeadlineExceeded
from core.settings import Settings
from http_clients.httpx_transport import httpx_client
from http_clients.sessions import (
    CONNECTIONS,
    JSON_LIMIT,
    BodyTooLarge,
    Route,
    limit_answer_time,
    read_chunks,
    requests_session,
)
from sandbox.loopback import LoopbackServer
from tests.e2e.tls_proxy import TlsProxy

WIDTH = 8
PACKED = {"Content-Encoding": "gzip"}


class Server:
    """Answers to ``/together`` wait for each other."""

    def __init__(self) -> None:
        self.released = threading.Event()
        app = Flask(__name__)
        together = threading.Barrier(WIDTH, timeout=10)
        app.add_url_rule("/", "door", lambda: ("", 404), methods=["HEAD"])
        app.add_url_rule("/together", "together", lambda: str(together.wait()))
        app.add_url_rule("/silent", "silent", lambda: str(self.released.wait(60)))
        app.add_url_rule("/echo", "echo", _echo, methods=["POST"])
        app.add_url_rule("/short", "short", _short)
        app.add_url_rule("/endless", "endless", lambda: Response(_endless()))
        app.add_url_rule("/flood", "flood", lambda: Response(itertools.repeat(bytes(2**16))))
        app.add_url_rule("/packed/<size>", "packed", _packed)
        app.add_url_rule("/hollow", "hollow", _hollow)
        self.http = LoopbackServer(app=app, name="test")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.port}"


def _echo() -> bytes:
    return request.get_data()


def _short() -> Response:
    return Response(iter([b"x"]), headers={"Content-Length": "100", "Connection": "close"})


def _endless() -> Iterator[bytes]:
    while True:
        time.sleep(0.01)
        yield b"x"


def _packed(size: str) -> Response:
    return Response(gzip.compress(bytes(int(size))), headers=PACKED)


def _hollow() -> Response:
    """Packed, and however much of it comes, nothing is in it."""
    packing = zlib.compressobj(wbits=31)
    beginning, nothing = packing.flush(zlib.Z_FULL_FLUSH), b"\0\0\0\xff\xff" * 1000
    return Response(itertools.chain([beginning], itertools.repeat(nothing)), headers=PACKED)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.http.start()
    yield server
    server.released.set()
    server.http.stop()


def trusting(roots: str = "") -> Settings:
    return Settings.model_construct(REQUESTS_CA_BUNDLE=roots, SSL_CERT_FILE="")


@pytest.fixture(params=["requests", "httpx"])
def client(request: pytest.FixtureRequest) -> requests.Session | httpx.Client:
    return made(request.param, trusting())


def made(kind: str, settings: Settings) -> requests.Session | httpx.Client:
    make = requests_session if kind == "requests" else httpx_client
    client: requests.Session | httpx.Client = make(settings, width=WIDTH)
    return client


def test_touching_opens_as_many_connections_as_are_kept_and_uses_them_later(
    server: Server, client: requests.Session | httpx.Client
) -> None:
    route = Route(client, f"{server.url}/some/path")
    for _ in range(3):
        route.warm()
        assert server.http.connections == CONNECTIONS
    assert client.get(f"{server.url}/nothing").status_code == 404
    assert server.http.connections == CONNECTIONS


def test_a_burst_as_wide_as_the_pool_opens_its_connections_once(
    server: Server, client: requests.Session | httpx.Client
) -> None:
    with ThreadPoolExecutor(WIDTH) as pool:
        for _ in range(3):
            got = pool.map(lambda _: client.get(f"{server.url}/together").status_code, range(WIDTH))
            assert set(got) == {200}
    assert server.http.connections == WIDTH


@pytest.mark.parametrize("kind", ["requests", "httpx"])
def test_a_private_authority_is_trusted_without_a_proxy_too(tmp_path: Path, kind: str) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    roots = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(roots)
    server = make_server("127.0.0.1", 0, Flask(__name__), threaded=True, ssl_context=context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        client = made(kind, trusting(str(roots)))
        assert client.get(f"https://127.0.0.1:{server.server_port}/").status_code == 404
    finally:
        server.shutdown()


@pytest.mark.parametrize("kind", ["requests", "httpx"])
def test_roots_are_read_once_and_trusted_alone(tmp_path: Path, server: Server, kind: str) -> None:
    """The proxy shows a certificate of its own authority, which nobody else trusts."""
    authority = trustme.CA()
    with TlsProxy(hosts={"provider.example": server.http.port}, folder=tmp_path) as proxy:
        roots = tmp_path / "roots.pem"
        roots.write_bytes(proxy.ca_file.read_bytes() + authority.cert_pem.bytes())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", proxy.url)
            # requests itself would look here, each time.
            patch.setenv("REQUESTS_CA_BUNDLE", str(roots))
            patch.delenv("SSL_CERT_FILE", raising=False)
            client, stranger = made(kind, trusting(str(roots))), made(kind, trusting())
            roots.unlink()
            Route(client, "https://provider.example").warm()
            assert proxy.tunnels == ["provider.example"] * CONNECTIONS
            with pytest.raises((requests.exceptions.SSLError, httpx.ConnectError)) as caught:
                Route(stranger, "https://provider.example").warm()
    assert ssl.SSLCertVerificationError.__name__ in repr(causes(caught.value))


def causes(error: BaseException | None) -> list[BaseException]:
    found = []
    while error:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def test_a_body_that_never_ends_is_given_up(server: Server) -> None:
    session = requests_session(trusting(), width=WIDTH)
    with pytest.raises(requests.RequestException):
        session.get(f"{server.url}/endless", hooks={"response": limit_answer_time(0.1)}, timeout=5)


def test_a_body_that_comes_in_time_is_read_as_ever(server: Server) -> None:
    """Its connection is used again."""
    session = requests_session(trusting(), width=WIDTH)
    for _ in range(2):
        answer = session.get(
            f"{server.url}/none", hooks={"response": limit_answer_time(5.0)}, timeout=5
        )
        assert "Not Found" in answer.text
    assert server.http.connections == 1


def read(client: requests.Session | httpx.Client, url: str) -> bytes:
    """A body as the service reads it."""
    if isinstance(client, httpx.Client):
        return client.get(url, timeout=60).content
    with client.get(url, stream=True, timeout=60) as answer:
        return b"".join(read_chunks(answer, 60))


@pytest.mark.parametrize(
    "path", ["flood", f"packed/{JSON_LIMIT + 1}", "packed/100000000", "hollow"]
)
def test_a_body_that_is_too_large_is_given_up(
    server: Server, client: requests.Session | httpx.Client, path: str
) -> None:
    """As it comes, or unpacked."""
    with pytest.raises((BodyTooLarge, httpx.RemoteProtocolError)):
        read(client, f"{server.url}/{path}")


@pytest.mark.parametrize("size", [0, 10, JSON_LIMIT])
def test_a_body_may_be_packed(
    server: Server, client: requests.Session | httpx.Client, size: int
) -> None:
    for _ in range(2):
        assert read(client, f"{server.url}/packed/{size}") == bytes(size)
    assert server.http.connections == 1


def test_so_is_one_that_is_to_come_within_some_time(server: Server) -> None:
    session = requests_session(trusting(), width=WIDTH)
    with pytest.raises(BodyTooLarge):
        session.get(f"{server.url}/flood", hooks={"response": limit_answer_time(60.0)}, timeout=5)


@pytest.fixture
def speaker() -> httpx.Client:
    return httpx_client(trusting(), width=WIDTH)


def test_what_never_ends_ends_with_the_turn(server: Server, speaker: httpx.Client) -> None:
    with Deadline(0.2).applied():
        with pytest.raises((DeadlineExceeded, httpx.ReadTimeout)):
            speaker.get(f"{server.url}/endless", timeout=60)
        with pytest.raises(DeadlineExceeded):
            speaker.get(f"{server.url}/none", timeout=60)
    with Deadline(0.2).applied(), pytest.raises(httpx.ReadTimeout):
        speaker.get(f"{server.url}/silent", timeout=60)


def test_a_body_is_sent_whole_or_in_portions(server: Server, speaker: httpx.Client) -> None:
    large = random.Random(1).randbytes(500_000)
    assert speaker.post(f"{server.url}/echo", content=large).content == large
    form = speaker.post(f"{server.url}/echo", files={"file": io.BytesIO(large)}).content
    assert large in form
    assert server.http.connections == 1


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("http://127.0.0.1:9/", httpx.ConnectError),
        ("http://nowhere.invalid/", httpx.ConnectError),
    ],
)
def test_what_goes_wrong_is_told_as_httpx_does(
    speaker: httpx.Client, address: str, kind: type[httpx.HTTPError]
) -> None:
    with pytest.raises(kind):
        speaker.get(address, timeout=5)


def test_an_answer_that_breaks_off_is_an_error(server: Server, speaker: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        speaker.get(f"{server.url}/short", timeout=5)
    assert speaker.get(f"{server.url}/none", timeout=5).status_code == 404
