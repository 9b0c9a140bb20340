"""httpx, which ElevenLabs' SDK is built on: trusting the operator's roots, within a turn's time."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
from requests.utils import get_environ_proxies

from connections import CONNECT_SECONDS, trusting
from deadline import capped, time_left
from settings import Settings

# Longer than the pauses between two uses of a connection that is kept warm; httpx by itself drops
# them after 5 s (contracts/elevenlabs.md §7.3).
IDLE_SECONDS = 120.0


def httpx_client(settings: Settings, *, width: int) -> httpx.Client:
    """A client for ElevenLabs with ``width`` connections at most.

    What it waits for ends with the turn's deadline: ``httpx.ReadTimeout`` or ``DeadlineExceeded``.
    """
    address = settings.ELEVENLABS_API_URL
    proxies = get_environ_proxies(address)
    transport = httpx.HTTPTransport(
        verify=trusting(settings),
        limits=httpx.Limits(
            max_connections=width,
            max_keepalive_connections=width,
            keepalive_expiry=IDLE_SECONDS,
        ),
        proxy=proxies.get(httpx.URL(address).scheme) or proxies.get("all"),
    )
    patience = settings.CLOUD_PATIENCE
    return httpx.Client(transport=_InTime(transport, connect_seconds=CONNECT_SECONDS * patience))


class _InTime(httpx.BaseTransport):
    """Lets no wait be longer than connecting may take, and none than the turn has time left."""

    def __init__(self, transport: httpx.BaseTransport, *, connect_seconds: float) -> None:
        self._transport = transport
        self._connect_seconds = connect_seconds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        timeout = request.extensions["timeout"]
        request.extensions["timeout"] = {
            "connect": capped(min(timeout["connect"], self._connect_seconds)),
            "read": capped(timeout["read"]),
            "write": capped(timeout["write"]),
            "pool": capped(timeout["pool"]),
        }
        answer = self._transport.handle_request(request)
        body = answer.stream
        if not isinstance(body, httpx.SyncByteStream):
            raise TypeError("a body that only an event loop can read")
        return httpx.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_BodyInTime(body),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        self._transport.close()


class _BodyInTime(httpx.SyncByteStream):
    """Each chunk of it may come just in time, and all of it before the turn's deadline."""

    def __init__(self, body: httpx.SyncByteStream) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._body:
            yield chunk
            if time_left() == 0:
                raise httpx.ReadTimeout("the answer took all the time that was left")

    def close(self) -> None:
        self._body.close()
