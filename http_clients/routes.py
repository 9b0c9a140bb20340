"""Routes: the connections of one client to one host, which are kept open."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx
import requests

# The connections that are kept open on each route. A turn uses one of them, so a few turns can come
# at once; a larger burst opens more connections, which stay open for the next burst.
CONNECTIONS = 4
PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class Route:
    """``client``'s connections to the host of ``address``, a URL; ``number`` of them stay open."""

    client: requests.Session | httpx.Client
    address: str
    number: int = CONNECTIONS

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    def warm(self) -> None:
        """Open the connections, or use those that are open, by one ``HEAD /`` on each.

        The requests carry no credentials. Raises ``requests.RequestException`` or
        ``httpx.HTTPError``.
        """
        with ExitStack() as probes:
            # Each connection is released after all requests were sent. Otherwise the pool would
            # send them all over the same one.
            for _ in range(self.number):
                probes.callback(self._send_probe())

    def _send_probe(self) -> Callable[[], object]:
        """Returns a callable that reads the response, which releases its connection."""
        url = urljoin(self.address, "/")
        if isinstance(self.client, httpx.Client):
            request = self.client.build_request("HEAD", url, timeout=PROBE_SECONDS)
            return self.client.send(request, stream=True).read
        response = self.client.head(url, stream=True, timeout=PROBE_SECONDS)
        return lambda: response.content
