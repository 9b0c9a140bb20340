"""Floods a server with requests from a separate process.

It imports little, because a process is spawned for each flood.
"""

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

# Just enough threads to reach the rate: their CPU time is lost to the bridge on the same machine.
CLIENTS = 8
TIMEOUT_SECONDS = 15.0
REPORT_SECONDS = 0.1


class Flood:
    """Sends ``requests`` in turn at ``rate`` per second, from a separate process.

    Each client waits for the answer and keeps the connection if ``keep_alive``. With
    ``leave_open`` it does not wait, and leaves every connection open until the flood ends.
    """

    def __init__(
        self,
        *,
        port: int,
        requests: Sequence[bytes],
        rate: float,
        keep_alive: bool = False,
        leave_open: bool = False,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._stopped = context.Event()
        self._started = context.Event()
        self._refused = context.Value("i", 0)
        self._process = context.Process(
            target=_run_clients,
            args=(port, requests, rate, keep_alive, leave_open),
            kwargs={
                "started": self._started,
                "stopped": self._stopped,
                "refused": self._refused,
            },
        )

    @contextmanager
    def running(self) -> Iterator[Flood]:
        """The flood lasts as long as this context."""
        self._process.start()
        try:
            self._started.wait()
            yield self
        finally:
            self._stopped.set()
            self._process.join()

    @property
    def refused(self) -> int:
        """How many requests were answered with 403 so far."""
        return int(self._refused.value)


def _run_clients(
    port: int,
    requests: Sequence[bytes],
    rate: float,
    keep_alive: bool,
    leave_open: bool,
    *,
    started: Event,
    stopped: Event,
    refused: Synchronized[int],
) -> None:
    counts = [0] * CLIENTS

    def run(number: int) -> None:
        first = number % len(requests)
        client = FloodClient(
            port=port,
            requests=[*requests[first:], *requests[:first]],
            keep_alive=keep_alive,
            leave_open=leave_open,
        )
        due = time.monotonic() + number / rate
        while not stopped.is_set():
            time.sleep(max(due - time.monotonic(), 0))
            due += CLIENTS / rate
            counts[number] += client.post()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    started.set()
    while not stopped.wait(REPORT_SECONDS):
        refused.value = sum(counts)
    for thread in threads:
        thread.join()


class FloodClient:
    """One client on a plain socket, which needs less CPU than an HTTP library."""

    def __init__(
        self, *, port: int, requests: Sequence[bytes], keep_alive: bool, leave_open: bool
    ) -> None:
        self._address = ("127.0.0.1", port)
        self._requests = itertools.cycle(requests)
        self._keep_alive = keep_alive
        self._left_open: list[socket.socket] | None = [] if leave_open else None
        self._socket: socket.socket | None = None

    def post(self) -> bool:
        """Send the next request; returns whether it was answered with 403."""
        try:
            self._socket = self._socket or socket.create_connection(self._address, TIMEOUT_SECONDS)
            self._socket.sendall(next(self._requests))
            if self._left_open is not None:
                self._left_open.append(self._socket)
                self._socket = None
                return False
            answer = self._socket.recv(4096)
        except OSError:
            answer = b""
        if self._socket and not (self._keep_alive and answer):
            self._socket.close()
            self._socket = None
        return answer.startswith(b"HTTP/1.1 403 ")
