"""Requests of strangers from a process of its own; it imports little, for it is started often."""

from __future__ import annotations

import itertools
import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

# As few as keep up: what takes CPU here slows the bridge on the same machine.
CLIENTS = 8
TIMEOUT = 15.0


class Flood:
    """``requests`` in turn from a process of its own, while the context lasts.

    Each client waits for its answer, unless ``held``: then all connections are left open.
    """

    def __init__(
        self,
        *,
        port: int,
        requests: Sequence[bytes],
        rate: float,
        kept_alive: bool = False,
        held: bool = False,
    ) -> None:
        spawned = multiprocessing.get_context("spawn")
        self._over = spawned.Event()
        self._began = spawned.Event()
        self._refused = spawned.Value("i", 0)
        self._process = spawned.Process(
            target=_flood,
            args=(port, requests, rate, kept_alive, held, self._began, self._over, self._refused),
        )

    @contextmanager
    def rising(self) -> Iterator[Flood]:
        self._process.start()
        try:
            self._began.wait()
            yield self
        finally:
            self._over.set()
            self._process.join()

    @property
    def refused(self) -> int:
        """How many were answered with 403 so far."""
        return int(self._refused.value)


def _flood(
    port: int,
    requests: Sequence[bytes],
    rate: float,
    kept_alive: bool,
    held: bool,
    began: Event,
    over: Event,
    refused: Synchronized[int],
) -> None:
    counts = [0] * CLIENTS

    def post(place: int) -> None:
        own = [*requests[place % len(requests) :], *requests[: place % len(requests)]]
        client = Forger(port=port, requests=own, kept_alive=kept_alive, held=held)
        due = time.monotonic() + place / rate
        while not over.is_set():
            time.sleep(max(due - time.monotonic(), 0))
            due += CLIENTS / rate
            counts[place] += client.post()

    threads = [threading.Thread(target=post, args=(place,)) for place in range(CLIENTS)]
    for thread in threads:
        thread.start()
    began.set()
    while not over.wait(0.1):
        refused.value = sum(counts)
    for thread in threads:
        thread.join()


class Forger:
    """One client; written for little CPU."""

    def __init__(
        self, *, port: int, requests: Sequence[bytes], kept_alive: bool, held: bool
    ) -> None:
        self._address = ("127.0.0.1", port)
        self._requests = itertools.cycle(requests)
        self._kept_alive = kept_alive
        self._held: list[socket.socket] | None = [] if held else None
        self._socket: socket.socket | None = None

    def post(self) -> bool:
        """Whether it was refused with 403."""
        try:
            self._socket = self._socket or socket.create_connection(self._address, TIMEOUT)
            self._socket.sendall(next(self._requests))
            if self._held is not None:
                self._held.append(self._socket)
                self._socket = None
                return False
            answer = self._socket.recv(4096)
        except OSError:
            answer = b""
        if self._socket and not (self._kept_alive and answer):
            self._socket.close()
            self._socket = None
        return answer.startswith(b"HTTP/1.1 403 ")
