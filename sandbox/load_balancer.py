"""One address in front of several web processes, as a platform's router is."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence

from sandbox.tcp_relay import Connection, TcpRelay


class TcpLoadBalancer(TcpRelay):
    """Forwards each TCP connection to the next of ``ports`` on loopback.

    A port where nobody listens is skipped; where nobody listens on any, the caller is hung up on.
    The connection stays with the one it was given to.
    """

    def __init__(self, *, ports: Sequence[int], port: int = 0) -> None:
        super().__init__(port=port)
        self.url = f"http://127.0.0.1:{self.port}"
        self._ports = list(ports)
        self._turns = itertools.count()

    async def _connect(self) -> Connection:
        first = next(self._turns)
        for place in range(len(self._ports)):
            port = self._ports[(first + place) % len(self._ports)]
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        raise ConnectionRefusedError("no web listens")
