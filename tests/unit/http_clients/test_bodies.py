"""Bodies are read within limits of time and size, compressed or not."""

from __future__ import annotations

import httpx
import pytest
import requests

from http_clients.bodies import JSON_LIMIT_BYTES, BodyTooLarge, limit_answer_time, read_chunks
from tests.unit.http_clients.conftest import HttpClient
from tests.unit.http_clients.http_server import HttpServer


def read(client: HttpClient, url: str) -> bytes:
    """A body as the service reads it."""
    if isinstance(client, httpx.Client):
        return client.get(url, timeout=60).content
    with client.get(url, stream=True, timeout=60) as response:
        return b"".join(read_chunks(response, 60))


def get_within(session: requests.Session, url: str, seconds: float) -> requests.Response:
    return session.get(url, hooks={"response": limit_answer_time(seconds)}, timeout=5)


@pytest.mark.parametrize(
    "path", ["endless", f"zeros/{JSON_LIMIT_BYTES + 1}", "zeros/100000000", "empty"]
)
def test_a_body_that_is_too_large_is_abandoned(
    http_server: HttpServer, client: HttpClient, path: str
) -> None:
    """Its size counts both as received and as decompressed."""
    with pytest.raises((BodyTooLarge, httpx.RemoteProtocolError)):
        read(client, f"{http_server.url}/{path}")


@pytest.mark.parametrize("size", [0, 10, JSON_LIMIT_BYTES])
def test_a_compressed_body_is_decompressed(
    http_server: HttpServer, client: HttpClient, size: int
) -> None:
    for _ in range(2):
        assert read(client, f"{http_server.url}/zeros/{size}") == bytes(size)
    assert http_server.connections == 1


@pytest.mark.parametrize("path", ["trickle", "stops"])
def test_a_body_that_takes_too_long_is_abandoned(
    http_server: HttpServer, session: requests.Session, path: str
) -> None:
    with pytest.raises(requests.ReadTimeout):
        get_within(session, f"{http_server.url}/{path}", 0.1)


def test_a_body_in_time_is_read_and_its_connection_used_again(
    http_server: HttpServer, session: requests.Session
) -> None:
    for _ in range(2):
        assert "Not Found" in get_within(session, f"{http_server.url}/none", 5.0).text
    assert http_server.connections == 1


def test_a_time_limit_comes_with_the_limit_of_size(
    http_server: HttpServer, session: requests.Session
) -> None:
    with pytest.raises(BodyTooLarge):
        get_within(session, f"{http_server.url}/endless", 60.0)
