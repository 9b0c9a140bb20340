from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
import requests

from core.settings import Settings
from http_clients.httpx_transport import httpx_client
from http_clients.sessions import requests_session
from tests.unit.http_clients.http_server import WIDTH, HttpServer

HttpClient = requests.Session | httpx.Client
# Builds a client that trusts the root certificates in a file, by default the usual ones.
BuildClient = Callable[[str], HttpClient]


def client_settings(ca_file: str = "") -> Settings:
    return Settings.model_construct(REQUESTS_CA_BUNDLE=ca_file, SSL_CERT_FILE="")


@pytest.fixture
def http_server() -> Iterator[HttpServer]:
    server = HttpServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["requests", "httpx"])
def build_client(request: pytest.FixtureRequest) -> BuildClient:
    def build(ca_file: str = "") -> HttpClient:
        settings = client_settings(ca_file)
        if request.param == "requests":
            return requests_session(settings, connections=WIDTH)
        return httpx_client(settings, connections=WIDTH)

    return build


@pytest.fixture
def client(build_client: BuildClient) -> HttpClient:
    return build_client("")


@pytest.fixture
def session() -> requests.Session:
    return requests_session(client_settings(), connections=WIDTH)
