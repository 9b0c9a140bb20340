"""A TCP address on loopback that passes its connections on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator

from sandbox.bridge import free_port
from sandbox.service import Service

# Enough for a burst of callers that all connect before the first is accepted.
BACKLOG = 1024
CHUNK = 1 << 16

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class TcpRelay(Service):
    """Passes each connection on to where ``_connect`` leads, until both ways have ended.

    Where that leads nowhere, the caller is hung up on. Use it as a context manager, or ``start``
    and ``stop`` it; it starts again on the same port.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.port = port or free_port()
        # Without this a connection whose caller has said all is garbage to Python.
        self._open: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises ``OSError`` when the port is taken."""
        runner = asyncio.Runner()
        try:
            server = runner.run(self._listen())
        except OSError:
            runner.close()
            raise
        self._loop = runner.get_loop()
        self._thread = threading.Thread(
            target=_serve, args=(runner, server), name=type(self).__name__, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and hang up on everyone; does nothing when not started."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = self._thread = None

    async def _connect(self) -> Connection:
        """Raises ``OSError`` where nobody is there."""
        raise NotImplementedError

    async def _forward(self, caller: Connection) -> None:
        called = await self._connect()
        with contextlib.closing(called[1]):
            await self._converse(caller, called)

    async def _converse(self, caller: Connection, called: Connection) -> None:
        """Raises ``ExceptionGroup`` where one of the two is gone."""
        async with asyncio.TaskGroup() as ways:
            ways.create_task(self._ask(caller[0], called[1]))
            ways.create_task(pump(called[0], caller[1]))

    async def _ask(self, caller: asyncio.StreamReader, called: asyncio.StreamWriter) -> None:
        await pump(caller, called)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=BACKLOG)

    async def _accept(self, asks: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        with contextlib.closing(answers), self._kept():
            try:
                await self._forward((asks, answers))
            # One of the two is gone, or hung up on.
            except* (OSError, asyncio.CancelledError):
                pass

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            yield
        finally:
            self._open.discard(task)


async def pump(
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    hold: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Pass on what comes, and its end; of each piece once ``hold`` has returned."""
    while chunk := await source.read(CHUNK):
        if hold:
            await hold()
        sink.write(chunk)
        await sink.drain()
    sink.write_eof()


def _serve(runner: asyncio.Runner, server: asyncio.Server) -> None:
    with runner:
        runner.get_loop().run_forever()
        server.close()
