"""Audio on its way out, at the pace of the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from flask import Response

_CHUNK = 2048


def answered(audio: bytes, drawn_out: float, *, streamed: bool) -> Response:
    """``audio`` whole after ``drawn_out`` seconds, or in chunks spread over them."""
    if streamed:
        return Response(_drawn_out(audio, drawn_out))
    time.sleep(drawn_out)
    return Response(audio)


def release_after(answer: Response, held: ExitStack) -> None:
    """Close ``held`` with the last byte, or when the client goes away before it.

    Waiting for the server to close the answer could outlast the caller's next request.
    """
    chunks = answer.response

    def released() -> Iterator[Any]:
        with held:
            yield from chunks

    answer.response = released()
    answer.call_on_close(held.close)


def _drawn_out(audio: bytes, seconds: float) -> Iterator[bytes]:
    """``audio`` in chunks, the first at once, the last after ``seconds``."""
    start = time.monotonic()
    starts = range(0, len(audio), _CHUNK)
    for number, position in enumerate(starts):
        due = start + seconds * number / max(1, len(starts) - 1)
        if (wait := due - time.monotonic()) > 0:
            time.sleep(wait)
        yield audio[position : position + _CHUNK]
