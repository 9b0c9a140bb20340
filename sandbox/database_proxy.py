"""A TCP way to a PostgreSQL server of one's own, that can go silent, slow down or hang up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sandbox.tcp_relay import CHUNK, Connection, TcpRelay, pump


class DatabaseProxy(TcpRelay):
    """Leads from a port on loopback to the Unix ``socket`` of a server.

    While the server is down, callers are hung up on. ``delay`` holds back each piece of what a
    client says by that many seconds, and may be changed at any time: each statement takes that much
    longer, and so does each other question, as the one for TLS at the start.

    A connection that was ``cut`` looks to both ends as if a router on the way had forgotten it,
    save that the kernel goes on acknowledging what they send: keepalives find nothing amiss.
    """

    def __init__(self, socket: Path, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.delay = 0.0
        self._socket = socket
        self._is_cut = False
        self._talks: set[asyncio.Task[None]] = set()

    def url(self, database: str) -> str:
        """The address of ``database`` through this proxy, for psycopg and SQLAlchemy."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def cut(self) -> None:
        """From now on pass on nothing, of connections that exist and of those that are opened.

        All that either end says is thrown away, its goodbye too: the other end learns of nothing
        before ``drop`` or ``stop``, whatever comes after.
        """
        self._run(self._silence)

    def restore(self) -> None:
        """Serve new connections again; those from before stay silent."""
        self._is_cut = False

    def drop(self) -> None:
        """Hang up on everyone, at both ends, also where it was cut."""
        self._run(self._hang_up)

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it where the connections are; returns when it is done."""
        if self._loop is None:
            raise RuntimeError("the proxy is not running")
        asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    async def _silence(self) -> None:
        self._is_cut = True
        await _cancel(self._talks)

    async def _hang_up(self) -> None:
        await _cancel(self._open)

    async def _connect(self) -> Connection:
        return await asyncio.open_unix_connection(self._socket)

    async def _forward(self, caller: Connection) -> None:
        if self._is_cut:
            await _ignore(caller)
        await super()._forward(caller)

    async def _converse(self, caller: Connection, called: Connection) -> None:
        if self._is_cut:
            # Meanwhile, while it was connected.
            await _ignore(caller, called)
        talk = asyncio.create_task(super()._converse(caller, called))
        self._talks.add(talk)
        try:
            await asyncio.wait({talk})
        finally:
            talk.cancel()
            self._talks.discard(talk)
        if talk.cancelled():
            await _ignore(caller, called)
        await talk

    async def _ask(self, caller: asyncio.StreamReader, called: asyncio.StreamWriter) -> None:
        await pump(caller, called, hold=self._hold)

    async def _hold(self) -> None:
        await asyncio.sleep(self.delay)


async def _ignore(*ends: Connection) -> None:
    """Throw away what they say, for ever."""
    await asyncio.gather(*(_swallow(said) for said, _ in ends))
    await asyncio.Event().wait()


async def _swallow(said: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await said.read(CHUNK):
            pass


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    """Returns when they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(set(tasks))
