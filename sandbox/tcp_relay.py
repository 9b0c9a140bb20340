"""A TCP relay: listens on loopback and forwards each connection."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator

from sandbox.bridge import free_port
from sandbox.service import Service

# Enough for a burst of clients that connect before the first one is accepted.
BACKLOG = 1024
CHUNK_BYTES = 1 << 16

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class TcpRelay(Service):
    """Forwards each connection to the server that ``_connect`` chooses, in both directions.

    If no server can be reached, the client's connection is closed. Use it as a context manager, or
    call ``start`` and ``stop``; it starts again on the same port.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.port = port or free_port()
        # The event loop has only weak references to tasks, so they are kept here.
        self._connections: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises ``OSError`` if the port is in use."""
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
        """Stop listening and close all connections; does nothing if it was not started."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = self._thread = None

    async def _connect(self) -> Connection:
        """Open a connection to a server. Raises ``OSError`` if none can be reached."""
        raise NotImplementedError

    async def _serve_client(self, client: Connection) -> None:
        server = await self._connect()
        with contextlib.closing(server[1]):
            await self._forward(client, server)

    async def _forward(self, client: Connection, server: Connection) -> None:
        """Raises ``ExceptionGroup`` if one of the connections breaks."""
        async with asyncio.TaskGroup() as directions:
            directions.create_task(self._forward_requests(client[0], server[1]))
            directions.create_task(copy(server[0], client[1]))

    async def _forward_requests(
        self, client: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        await copy(client, server)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=BACKLOG)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), self._tracked():
            try:
                await self._serve_client((reader, writer))
            # A connection broke, or is closed by this relay.
            except* (OSError, asyncio.CancelledError):
                pass

    @contextlib.contextmanager
    def _tracked(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            yield
        finally:
            self._connections.discard(task)


async def copy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    before_write: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Copy all data and the end of the stream; awaits ``before_write`` before each chunk."""
    while chunk := await reader.read(CHUNK_BYTES):
        if before_write:
            await before_write()
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


def _serve(runner: asyncio.Runner, server: asyncio.Server) -> None:
    with runner:
        runner.get_loop().run_forever()
        server.close()
