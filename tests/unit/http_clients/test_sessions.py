"""Connections are kept and shared, and verified by the operator's root certificates."""

from __future__ import annotations

import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import requests
import trustme
from flask import Flask
from werkzeug.serving import make_server

from http_clients.routes import CONNECTIONS, Route
from tests.e2e.tls_proxy import TlsProxy
from tests.unit.http_clients.conftest import BuildClient, HttpClient
from tests.unit.http_clients.http_server import WIDTH, HttpServer


def test_warming_opens_the_connections_that_later_requests_use(
    http_server: HttpServer, client: HttpClient
) -> None:
    route = Route(client, f"{http_server.url}/some/path")
    for _ in range(3):
        route.warm()
        assert http_server.connections == CONNECTIONS
    assert client.get(f"{http_server.url}/nothing").status_code == 404
    assert http_server.connections == CONNECTIONS


def test_a_burst_as_wide_as_the_pool_opens_its_connections_once(
    http_server: HttpServer, client: HttpClient
) -> None:
    url = f"{http_server.url}/together"
    with ThreadPoolExecutor(WIDTH) as pool:
        for _ in range(3):
            statuses = pool.map(lambda _: client.get(url).status_code, range(WIDTH))
            assert set(statuses) == {200}
    assert http_server.connections == WIDTH


def test_a_private_authority_is_trusted_without_a_proxy_too(
    tmp_path: Path, build_client: BuildClient
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    server = make_server("127.0.0.1", 0, Flask(__name__), threaded=True, ssl_context=context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        client = build_client(str(ca_file))
        assert client.get(f"https://127.0.0.1:{server.server_port}/").status_code == 404
    finally:
        server.shutdown()


def test_root_certificates_are_read_once_and_no_others_are_trusted(
    tmp_path: Path, http_server: HttpServer, build_client: BuildClient
) -> None:
    """The proxy's certificate is from an authority of its own."""
    with TlsProxy(hosts={"provider.example": http_server.port}, folder=tmp_path) as proxy:
        ca_file = tmp_path / "ca.pem"
        ca_file.write_bytes(proxy.ca_file.read_bytes() + trustme.CA().cert_pem.bytes())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", proxy.url)
            # requests by itself would read this variable and the file for each request.
            patch.setenv("REQUESTS_CA_BUNDLE", str(ca_file))
            patch.delenv("SSL_CERT_FILE", raising=False)
            trusting, other = build_client(str(ca_file)), build_client("")
            ca_file.unlink()
            Route(trusting, "https://provider.example").warm()
            assert proxy.tunnels == ["provider.example"] * CONNECTIONS
            with pytest.raises((requests.exceptions.SSLError, httpx.ConnectError)) as caught:
                Route(other, "https://provider.example").warm()
    assert ssl.SSLCertVerificationError.__name__ in repr(error_chain(caught.value))


def error_chain(error: BaseException | None) -> list[BaseException]:
    chain = []
    while error:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
