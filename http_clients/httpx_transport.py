"""httpx over the connections that requests uses.

Its own, httpcore, looks through all connections of a pool, and asks the system about each that is
idle, whenever a request begins or ends: after a burst that is most of what a request takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from core.deadline import clamp
from core.settings import Settings
from http_clients.sessions import JSON_LIMIT, Adapter, build_adapter, proxy_finder, read_body_chunks

ENCODING = "content-encoding"

# What httpx calls these; the first that fits.
_KINDS: tuple[tuple[type[HTTPError], type[httpx.TransportError]], ...] = (
    (NewConnectionError, httpx.ConnectError),
    (ConnectTimeoutError, httpx.ConnectTimeout),
    (SSLError, httpx.ConnectError),
    (ReadTimeoutError, httpx.ReadTimeout),
    (HTTPError, httpx.RemoteProtocolError),
)


def httpx_client(settings: Settings, *, width: int, most: int = JSON_LIMIT) -> httpx.Client:
    """A client that ``width`` threads can share without waiting or re-connecting.

    Connections are kept; httpx by itself drops them after 5 s. What it waits for ends with the
    turn's deadline: ``DeadlineExceeded``, or ``httpx.ReadTimeout``. An answer of more than ``most``
    bytes is ``httpx.RemoteProtocolError``.
    """
    return httpx.Client(transport=Transport(build_adapter(settings, width=width), most=most))


class Transport(httpx.BaseTransport):
    """Sends what httpx made of a request, by the proxies of the environment."""

    def __init__(self, adapter: Adapter, *, most: int) -> None:
        self._adapter = adapter
        self._most = most
        self._proxies = proxy_finder()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions["timeout"]
        with _told_as_httpx_does():
            raw = self._send(request, connect=timeouts["connect"], read=timeouts["read"])
        body = _Body(raw, timeouts["read"], most=self._most)
        return httpx.Response(raw.status, headers=_headers(raw), stream=body)

    def close(self) -> None:
        self._adapter.close()

    def _send(self, request: httpx.Request, *, connect: float, read: float) -> BaseHTTPResponse:
        address: Any = SimpleNamespace(
            url=str(request.url), path_url=request.url.raw_path.decode("ascii")
        )
        proxies = self._proxies(address.url)
        pool: Any = self._adapter.get_connection_with_tls_context(address, True, proxies)
        raw: BaseHTTPResponse = pool.urlopen(
            request.method,
            self._adapter.request_url(address, proxies),
            body=_content(request),
            headers=dict(request.headers),
            timeout=self._adapter.limits(clamp(connect), clamp(read)),
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
        )
        return raw


class _Body(httpx.SyncByteStream):
    """Each chunk of it may come just in time, and all of it before the turn's deadline."""

    def __init__(self, raw: BaseHTTPResponse, timeout: float, *, most: int) -> None:
        self._raw = raw
        self._timeout = timeout
        self._most = most

    def __iter__(self) -> Iterator[bytes]:
        with _told_as_httpx_does():
            yield from read_body_chunks(self._raw, self._timeout, most=self._most)

    def close(self) -> None:
        """A connection is kept if its answer was read to the end."""
        self._raw.close()
        self._raw.release_conn()


def _headers(raw: BaseHTTPResponse) -> list[tuple[str, str]]:
    """Without that by which httpx would unpack the body, however large it would become."""
    return [(name, value) for name, value in raw.headers.items() if name.lower() != ENCODING]


def _content(request: httpx.Request) -> bytes | Iterable[bytes]:
    """The body: at once if it is there, or in portions."""
    if isinstance(request.stream, httpx.ByteStream):
        return b"".join(request.stream)
    if isinstance(request.stream, httpx.SyncByteStream):
        return request.stream
    raise TypeError("a body that only an event loop can read")


@contextmanager
def _told_as_httpx_does() -> Iterator[None]:
    try:
        yield
    except HTTPError as error:
        raise next(theirs for ours, theirs in _KINDS if isinstance(error, ours))(
            str(error)
        ) from error
