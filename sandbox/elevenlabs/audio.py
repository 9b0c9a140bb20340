"""Audio responses, whole or streamed, that take as long as those of the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from flask import Response

_CHUNK_BYTES = 2048


def audio_response(audio: bytes, seconds: float, *, streamed: bool) -> Response:
    """The whole ``audio`` after ``seconds``, or a stream of chunks that takes so long."""
    if streamed:
        return Response(_stream(audio, seconds))
    time.sleep(seconds)
    return Response(audio)


def close_after_body(answer: Response, stack: ExitStack) -> None:
    """Close ``stack`` after the last byte, or when the client disconnects earlier.

    The server closes the response later, possibly after the client's next request has arrived.
    """
    chunks = answer.response

    def stream() -> Iterator[Any]:
        with stack:
            yield from chunks

    answer.response = stream()
    answer.call_on_close(stack.close)


def _stream(audio: bytes, seconds: float) -> Iterator[bytes]:
    """Chunks of ``audio``: the first at once, the last after ``seconds``."""
    started = time.monotonic()
    positions = range(0, len(audio), _CHUNK_BYTES)
    for number, position in enumerate(positions):
        due = started + seconds * number / max(1, len(positions) - 1)
        time.sleep(max(0.0, due - time.monotonic()))
        yield audio[position : position + _CHUNK_BYTES]
