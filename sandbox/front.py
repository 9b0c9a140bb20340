"""One address in front of several web processes, as a platform's router is."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator, Sequence

from sandbox.bridge import free_port
from sandbox.startable import Startable

# Enough for a burst of callers that all connect before the first is accepted.
BACKLOG = 1024
CHUNK = 1 << 16


class Front(Startable):
    """Forwards each TCP connection to the next of ``ports`` on loopback.

    A port where nobody listens is skipped; where nobody listens on any, the caller is hung up on.
    The connection stays with the one it was given to. Use it as a context manager, or ``start``
    and ``stop`` it; it starts again on the same port.
    """

    def __init__(self, *, ports: Sequence[int], port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._ports = list(ports)
        self._turns = itertools.count()
        # Without this a connection whose caller has said all is garbage to Python.
        self._open: set[asyncio.Task[None] | None] = set()
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
            target=_serve, args=(runner, server), name="front", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and hang up on everyone; does nothing when not started."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = self._thread = None

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._forward, "127.0.0.1", self.port, backlog=BACKLOG)

    async def _forward(self, caller: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        with contextlib.closing(answers), self._kept(asyncio.current_task()):
            try:
                answered, asks = await self._connect()
                with contextlib.closing(asks):
                    async with asyncio.TaskGroup() as ways:
                        ways.create_task(_pump(caller, asks))
                        ways.create_task(_pump(answered, answers))
            # One of the two is gone, or this front stops.
            except* (OSError, asyncio.CancelledError):
                pass

    @contextlib.contextmanager
    def _kept(self, task: asyncio.Task[None] | None) -> Iterator[None]:
        self._open.add(task)
        try:
            yield
        finally:
            self._open.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        first = next(self._turns)
        for place in range(len(self._ports)):
            port = self._ports[(first + place) % len(self._ports)]
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        raise ConnectionRefusedError("no web listens")


def _serve(runner: asyncio.Runner, server: asyncio.Server) -> None:
    with runner:
        runner.get_loop().run_forever()
        server.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass on what comes, and its end."""
    while chunk := await source.read(CHUNK):
        sink.write(chunk)
        await sink.drain()
    sink.write_eof()
