"""Whether a request was sent: not before there is a connection, TLS included."""

from __future__ import annotations

import ssl

import requests
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NewConnectionError,
    ProxyError,
    SSLError,
)


class HandshakeFailed(SSLError):
    """There is no TLS with this host, so nothing was sent to it."""


_NO_CONNECTION = (NewConnectionError, ConnectTimeoutError, HandshakeFailed)


class TlsConnection(HTTPSConnection):
    """Tells a handshake that failed from a request that did: urllib3 gives both one error."""

    def connect(self) -> None:
        """Raises ``HandshakeFailed``, ``ConnectTimeoutError`` or ``NewConnectionError``."""
        try:
            super().connect()
        except ssl.SSLError as error:
            raise HandshakeFailed(error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no handshake in {self.timeout} s") from error
        except OSError as error:
            raise NewConnectionError(self, f"no handshake: {error}") from error


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = TlsConnection


# What urllib3 calls ``pool_classes_by_scheme``, with errors that ``request_was_not_sent`` tells
# apart.
POOLS: dict[str, type[HTTPConnectionPool]] = {"http": HTTPConnectionPool, "https": _TlsPool}


def request_was_not_sent(error: BaseException) -> bool:
    """Whether a request surely had no effect because no connection came about."""
    if not isinstance(error, requests.ConnectionError) or not error.args:
        return False
    cause = error.args[0]
    reason = cause.reason if isinstance(cause, MaxRetryError) else None
    if isinstance(reason, ProxyError):
        reason = reason.original_error
    return isinstance(reason, _NO_CONNECTION)
