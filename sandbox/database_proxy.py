"""A TCP proxy to a PostgreSQL server that can drop packets, slow down or close connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sandbox.tcp_relay import CHUNK_BYTES, Connection, TcpRelay, copy


class DatabaseProxy(TcpRelay):
    """Forwards connections from a loopback port to the Unix ``socket`` of a server.

    While the server is down, new connections are closed. ``delay`` holds back everything that a
    client sends by that many seconds, and may be changed at any time: each statement takes that
    much longer, and so does each other request, such as the one for TLS at the start.

    To both ends, a connection after :meth:`cut` looks as if a router on the way had lost its
    state. Only TCP keep-alives still succeed, because the kernel answers them.
    """

    def __init__(self, socket: Path, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.delay = 0.0
        self._socket = socket
        self._is_cut = False
        self._forwarding: set[asyncio.Task[None]] = set()

    def url(self, database: str) -> str:
        """The URL of ``database`` through this proxy, for psycopg and SQLAlchemy."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def cut(self) -> None:
        """From now on, discard all data of existing and of new connections.

        This includes the end of a connection: the other end learns of it only by ``drop`` or
        ``stop``.
        """
        self._run(self._discard_all)

    def restore(self) -> None:
        """Forward new connections again; existing ones stay cut."""
        self._is_cut = False

    def drop(self) -> None:
        """Close all connections at both ends, including those that were cut."""
        self._run(self._close_all)

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work`` on the event loop of the connections, and wait for its end."""
        if self._loop is None:
            raise RuntimeError("the proxy is not running")
        asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    async def _discard_all(self) -> None:
        self._is_cut = True
        await _cancel(self._forwarding)

    async def _close_all(self) -> None:
        await _cancel(self._connections)

    async def _connect(self) -> Connection:
        return await asyncio.open_unix_connection(self._socket)

    async def _serve_client(self, client: Connection) -> None:
        if self._is_cut:
            await _discard_forever(client)
        await super()._serve_client(client)

    async def _forward(self, client: Connection, server: Connection) -> None:
        if self._is_cut:
            # It was cut while the connection to the server was being opened.
            await _discard_forever(client, server)
        forwarding = asyncio.create_task(super()._forward(client, server))
        self._forwarding.add(forwarding)
        try:
            await asyncio.wait({forwarding})
        finally:
            forwarding.cancel()
            self._forwarding.discard(forwarding)
        if forwarding.cancelled():
            await _discard_forever(client, server)
        await forwarding

    async def _forward_requests(
        self, client: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        await copy(client, server, before_write=self._wait_delay)

    async def _wait_delay(self) -> None:
        await asyncio.sleep(self.delay)


async def _discard_forever(*connections: Connection) -> None:
    """Read and discard everything; never returns, so that the connections stay open."""
    await asyncio.gather(*(_discard(reader) for reader, _ in connections))
    await asyncio.Event().wait()


async def _discard(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(CHUNK_BYTES):
            pass


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel ``tasks`` and wait for their end."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(set(tasks))
