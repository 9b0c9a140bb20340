"""Connections to public addresses only, whatever a host's name resolves to."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from connections import Adapter
from errors import MediaForbidden
from handshakes import TlsConnection, pools_of

# The addresses of a host, best first; raises ``socket.gaierror``.
LookUp = Callable[[str], list[str]]

# RFC 6052 §2.1: how a network without IPv4 writes its addresses.
_NAT64 = IPv6Network("64:ff9b::/96")
# RFC 4291 §2.4; all that is given out to networks so far.
_UNICAST = IPv6Network("2000::/3")


def look_up(host: str) -> list[str]:
    """What the system's resolver says."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Whether it leads out of this machine and its network."""
    ip = ip_address(address)
    inner = _inner(ip)
    if inner is not None:
        return is_public(str(inner))
    usable = not ip.is_multicast if isinstance(ip, IPv4Address) else ip in _UNICAST
    return usable and ip.is_global


def _inner(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(ip, IPv4Address):
        return None
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour


class PublicAdapter(Adapter):
    """Raises ``MediaForbidden`` instead of connecting to a private or link-local address.

    Hosts in ``named``, which the operator gave, may be on this machine if they say so themselves:
    a loopback address or ``localhost``. A proxy resolves names by itself; what it lets through is
    its operator's business.
    """

    def __init__(
        self,
        *,
        named: Collection[str],
        context: ssl.SSLContext,
        width: int,
        look_up: LookUp = look_up,
        patience: float = 1.0,
    ) -> None:
        local = frozenset(host for host in map(_host, named) if _is_local(host))
        pools = pools_of(
            partial(_PublicConnection, local=local, look_up=look_up),
            partial(_PublicTlsConnection, local=local, look_up=look_up),
        )
        super().__init__(context=context, width=width, patience=patience, pools=pools)


class _PublicConnection(HTTPConnection):
    def __init__(
        self, *arguments: Any, local: frozenset[str], look_up: LookUp, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._local = local
        self._look_up = look_up

    def _new_conn(self) -> socket.socket:
        """Connect to an address that was judged: a name may resolve to another one next time."""
        name = self.host
        if name in self._local:
            return super()._new_conn()
        *others, last = self._public_addresses()
        try:
            for self.host in others:
                with suppress(NewConnectionError, ConnectTimeoutError):
                    return super()._new_conn()
            self.host = last
            return super()._new_conn()
        finally:
            # TLS verifies the name.
            self.host = name

    def _public_addresses(self) -> list[str]:
        try:
            found = self._look_up(self.host)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        if not found or not all(map(is_public, found)):
            raise MediaForbidden("the recording's host is in a private network")
        return found


class _PublicTlsConnection(_PublicConnection, TlsConnection):
    """The same, by TLS."""


def _host(place: str) -> str:
    """``localhost`` of ``http://localhost:5100`` or ``localhost:5100``."""
    return urlsplit(place if "://" in place else f"//{place}").hostname or ""


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
