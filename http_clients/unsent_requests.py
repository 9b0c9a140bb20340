"""Tells whether a failed request was sent: nothing is sent before TCP and TLS are connected."""

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
    """The TLS handshake failed, so nothing was sent."""


_CONNECTING_FAILED = (NewConnectionError, ConnectTimeoutError, HandshakeFailed)


class TlsConnection(HTTPSConnection):
    """Raises distinct errors for a failed handshake; urllib3's could also mean a failed request."""

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


# For ``PoolManager.pool_classes_by_scheme``.
POOL_CLASSES: dict[str, type[HTTPConnectionPool]] = {"http": HTTPConnectionPool, "https": _TlsPool}


def request_was_not_sent(error: BaseException) -> bool:
    """Whether the request certainly had no effect, because it failed while connecting.

    ``error`` is one that a session of ``http_clients/sessions.py`` raised.
    """
    if not isinstance(error, requests.ConnectionError) or not error.args:
        return False
    cause = error.args[0]
    reason = cause.reason if isinstance(cause, MaxRetryError) else None
    if isinstance(reason, ProxyError):
        reason = reason.original_error
    return isinstance(reason, _CONNECTING_FAILED)
