"""A server on loopback with paths for each way a response can go wrong."""

from __future__ import annotations

import gzip
import itertools
import threading
import time
import zlib
from collections.abc import Iterator

from flask import Flask, Response, request

from sandbox.loopback import LoopbackServer

# How many requests to ``/together`` wait for each other.
WIDTH = 8
GZIP = {"Content-Encoding": "gzip"}


class HttpServer:
    """Other paths are answered with 404."""

    def __init__(self) -> None:
        self.released = threading.Event()
        together = threading.Barrier(WIDTH, timeout=10)
        app = Flask(__name__)
        app.add_url_rule("/", "root", lambda: ("", 404), methods=["HEAD"])
        app.add_url_rule("/together", "together", lambda: str(together.wait()))
        app.add_url_rule("/silent", "silent", lambda: str(self.released.wait(60)))
        app.add_url_rule("/echo", "echo", _echo, methods=["POST"])
        app.add_url_rule("/truncated", "truncated", _truncated)
        app.add_url_rule("/trickle", "trickle", lambda: Response(_trickle()))
        app.add_url_rule("/stops", "stops", lambda: Response(self._stop_after_a_byte()))
        app.add_url_rule("/endless", "endless", lambda: Response(itertools.repeat(bytes(2**16))))
        app.add_url_rule("/zeros/<int:size>", "zeros", _compressed_zeros)
        app.add_url_rule("/empty", "empty", _endless_empty_blocks)
        self._server = LoopbackServer(app=app, name="test")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def connections(self) -> int:
        """How many were opened so far."""
        return self._server.connections

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self.released.set()
        self._server.stop()

    def _stop_after_a_byte(self) -> Iterator[bytes]:
        yield b"x"
        self.released.wait(60)


def _echo() -> bytes:
    return request.get_data()


def _truncated() -> Response:
    return Response(iter([b"x"]), headers={"Content-Length": "100", "Connection": "close"})


def _trickle() -> Iterator[bytes]:
    while True:
        time.sleep(0.01)
        yield b"x"


def _compressed_zeros(size: int) -> Response:
    return Response(gzip.compress(bytes(size)), headers=GZIP)


def _endless_empty_blocks() -> Response:
    """However many compressed bytes arrive, they expand to nothing."""
    compressor = zlib.compressobj(wbits=31)
    header, empty_blocks = compressor.flush(zlib.Z_FULL_FLUSH), b"\0\0\0\xff\xff" * 1000
    return Response(itertools.chain([header], itertools.repeat(empty_blocks)), headers=GZIP)
