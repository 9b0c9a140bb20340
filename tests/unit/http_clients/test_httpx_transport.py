"""An httpx client that sends by urllib3 behaves as one that does not."""

from __future__ import annotations

import io
import random

import httpx
import pytest

from core.deadline import Deadline
from core.errors import DeadlineExceeded
from http_clients.httpx_transport import httpx_client
from tests.unit.http_clients.conftest import client_settings
from tests.unit.http_clients.http_server import WIDTH, HttpServer


@pytest.fixture
def client() -> httpx.Client:
    return httpx_client(client_settings(), connections=WIDTH)


def test_a_request_ends_at_the_deadline_of_the_turn(
    http_server: HttpServer, client: httpx.Client
) -> None:
    with Deadline(0.2).applied():
        with pytest.raises((DeadlineExceeded, httpx.ReadTimeout)):
            client.get(f"{http_server.url}/trickle", timeout=60)
        with pytest.raises(DeadlineExceeded):
            client.get(f"{http_server.url}/none", timeout=60)
    with Deadline(0.2).applied(), pytest.raises(httpx.ReadTimeout):
        client.get(f"{http_server.url}/silent", timeout=60)


def test_a_request_body_is_sent_from_memory_or_as_a_stream(
    http_server: HttpServer, client: httpx.Client
) -> None:
    large = random.Random(1).randbytes(500_000)
    assert client.post(f"{http_server.url}/echo", content=large).content == large
    form = client.post(f"{http_server.url}/echo", files={"file": io.BytesIO(large)}).content
    assert large in form
    assert http_server.connections == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://nowhere.invalid/"])
def test_a_failure_to_connect_is_an_error_of_httpx(client: httpx.Client, url: str) -> None:
    with pytest.raises(httpx.ConnectError):
        client.get(url, timeout=5)


def test_a_truncated_response_is_an_error_of_httpx(
    http_server: HttpServer, client: httpx.Client
) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"{http_server.url}/truncated", timeout=5)
    assert client.get(f"{http_server.url}/none", timeout=5).status_code == 404
