"""A TCP load balancer in front of several web processes, like a platform's router."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence

from sandbox.tcp_relay import Connection, TcpRelay


class TcpLoadBalancer(TcpRelay):
    """Forwards TCP connections to ``ports`` on loopback, round robin.

    A port on which no process listens is skipped. If there is no other, the client's connection is
    closed.
    """

    def __init__(self, *, ports: Sequence[int], port: int = 0) -> None:
        super().__init__(port=port)
        self.url = f"http://127.0.0.1:{self.port}"
        self._ports = list(ports)
        self._connection_numbers = itertools.count()

    async def _connect(self) -> Connection:
        first = next(self._connection_numbers)
        for offset in range(len(self._ports)):
            port = self._ports[(first + offset) % len(self._ports)]
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        raise ConnectionRefusedError("no web process listens")
