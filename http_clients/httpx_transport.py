"""httpx clients, for ElevenLabs' SDK, that send through the adapter of ``adapters.py``.

httpx's own pool walks through all its connections, and polls the idle ones, whenever a request
begins or ends; after a burst that is most of a request's CPU time (docs/performance.md, "Single
measurements"). The adapter also gives httpx the limits of ``bodies.py``: the turn's deadline, and
the size of a body.
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
from http_clients.adapters import Adapter, build_adapter, proxy_finder
from http_clients.bodies import JSON_LIMIT_BYTES, read_raw_chunks

# The errors of urllib3 and the corresponding errors of httpx; the first match counts.
_ERRORS: tuple[tuple[type[HTTPError], type[httpx.TransportError]], ...] = (
    (NewConnectionError, httpx.ConnectError),
    (ConnectTimeoutError, httpx.ConnectTimeout),
    (SSLError, httpx.ConnectError),
    (ReadTimeoutError, httpx.ReadTimeout),
    (HTTPError, httpx.RemoteProtocolError),
)


def httpx_client(
    settings: Settings, *, connections: int, max_bytes: int = JSON_LIMIT_BYTES
) -> httpx.Client:
    """A client that ``connections`` threads can share without waiting or re-connecting.

    Idle connections stay open. At the turn's deadline a request raises ``DeadlineExceeded`` or
    ``httpx.ReadTimeout``; a response of more than ``max_bytes`` bytes raises
    ``httpx.RemoteProtocolError``.
    """
    adapter = build_adapter(settings, connections=connections)
    return httpx.Client(transport=Transport(adapter, max_bytes=max_bytes))


class Transport(httpx.BaseTransport):
    """Sends httpx's requests by urllib3, through the proxies of the environment."""

    def __init__(self, adapter: Adapter, *, max_bytes: int) -> None:
        self._adapter = adapter
        self._max_bytes = max_bytes
        self._find_proxies = proxy_finder()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions["timeout"]
        with _httpx_errors():
            raw = self._send(request, connect=timeouts["connect"], read=timeouts["read"])
        body = _Body(raw, timeouts["read"], max_bytes=self._max_bytes)
        return httpx.Response(raw.status, headers=_headers(raw), stream=body)

    def close(self) -> None:
        self._adapter.close()

    def _send(self, request: httpx.Request, *, connect: float, read: float) -> BaseHTTPResponse:
        # The adapter reads these two attributes of what requests would send.
        target: Any = SimpleNamespace(
            url=str(request.url), path_url=request.url.raw_path.decode("ascii")
        )
        proxies = self._find_proxies(target.url)
        pool: Any = self._adapter.get_connection_with_tls_context(target, True, proxies)
        raw: BaseHTTPResponse = pool.urlopen(
            request.method,
            self._adapter.request_url(target, proxies),
            body=_request_body(request),
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
    """A response body within the limits of ``read_chunks``."""

    def __init__(self, raw: BaseHTTPResponse, timeout: float, *, max_bytes: int) -> None:
        self._raw = raw
        self._timeout = timeout
        self._max_bytes = max_bytes

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from read_raw_chunks(self._raw, self._timeout, max_bytes=self._max_bytes)

    def close(self) -> None:
        """Release the connection; it is used again if the body was read to its end."""
        self._raw.close()
        self._raw.release_conn()


def _headers(raw: BaseHTTPResponse) -> list[tuple[str, str]]:
    """The headers without Content-Encoding: ``_Body`` decompresses, with a limit of the size."""
    return [
        (name, value) for name, value in raw.headers.items() if name.lower() != "content-encoding"
    ]


def _request_body(request: httpx.Request) -> bytes | Iterable[bytes]:
    """The body as bytes if it is in memory, otherwise as a stream."""
    if isinstance(request.stream, httpx.ByteStream):
        return b"".join(request.stream)
    if isinstance(request.stream, httpx.SyncByteStream):
        return request.stream
    raise TypeError("a synchronous client cannot send an asynchronous body")


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Raise urllib3's errors as those of httpx."""
    try:
        yield
    except HTTPError as error:
        kind = next(theirs for ours, theirs in _ERRORS if isinstance(error, ours))
        raise kind(str(error)) from error
