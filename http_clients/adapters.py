"""The adapter that all clients send through: its connection pools, TLS context and proxies."""

from __future__ import annotations

import functools
import math
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies
from urllib3 import Timeout
from urllib3.poolmanager import PoolManager

from core.settings import Settings
from http_clients.routes import CONNECTIONS
from http_clients.unsent_requests import POOL_CLASSES

# The TCP connection may take this long, and the TLS handshake as long again.
CONNECT_SECONDS = 5.0
# How many hosts a client has a connection pool for.
POOLS = 8


class Adapter(HTTPAdapter):
    """Shares one TLS context among all connections, and limits the time to connect.

    Without this, requests makes a context for each connection and loads the root certificates into
    it, which takes most of the CPU and memory of opening the connection (docs/decisions.md). The
    pool of each host keeps up to ``connections`` open. ``timeout_factor`` multiplies
    ``CONNECT_SECONDS``.
    """

    def __init__(
        self, *, context: ssl.SSLContext, connections: int, timeout_factor: float = 1.0
    ) -> None:
        self._context = context
        self._connect_seconds = CONNECT_SECONDS * timeout_factor
        super().__init__(pool_connections=POOLS, pool_maxsize=connections)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **options: Any
    ) -> None:
        self.poolmanager = PoolManager(
            num_pools=connections,
            maxsize=maxsize,
            block=block,
            ssl_context=self._context,
            **options,
        )
        self.poolmanager.pool_classes_by_scheme = POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **options)
        manager.pool_classes_by_scheme = POOL_CLASSES
        return manager

    def send(
        self, request: Any, stream: bool = False, timeout: Any = None, *rest: Any, **options: Any
    ) -> requests.Response:
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        limits: Any = self.limits(connect, read)
        return super().send(request, stream, limits, *rest, **options)

    def limits(self, connect: float | None, read: float | None) -> Timeout:
        """These timeouts (seconds) for urllib3, with the limit for connecting applied."""
        return Timeout(connect=min(connect or math.inf, self._connect_seconds), read=read)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        # With ``verify=True``, because a file named here would be loaded for each connection.
        return super().build_connection_pool_key_attributes(request, True, cert)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Does nothing, because the TLS context verifies certificates already."""


def build_adapter(settings: Settings, *, connections: int) -> Adapter:
    """An adapter that ``connections`` threads can share without waiting or re-connecting."""
    return Adapter(
        context=_tls_context(settings.REQUESTS_CA_BUNDLE or settings.SSL_CERT_FILE),
        connections=connections + CONNECTIONS,
        timeout_factor=settings.PROVIDER_TIMEOUT_FACTOR,
    )


def proxy_finder() -> Callable[[str], dict[str, str]]:
    """Returns a function from a URL to its proxies, which reads the environment once per host."""
    proxies_of_host = functools.lru_cache(maxsize=64)(get_environ_proxies)
    return lambda url: proxies_of_host(urljoin(url, "/"))


@functools.cache
def _tls_context(ca_file: str) -> ssl.SSLContext:
    """One context per file of root certificates; without a file, the roots that requests ships."""
    return ssl.create_default_context(cafile=ca_file or DEFAULT_CA_BUNDLE_PATH)
