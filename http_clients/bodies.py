"""Reading response bodies within limits of time and size, and the JSON in them."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import requests
from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError

from core.deadline import Deadline, clamp
from core.errors import DeadlineExceeded

CHUNK_BYTES = 64 * 1024
# The largest JSON body that we expect, Twilio's list of 20 messages, is a tenth of this. A body
# beyond the limit comes from a broken server, and could fill the memory.
JSON_LIMIT_BYTES = 1024 * 1024

# ``json.loads`` raises these for text that is not JSON, or whose numbers or nesting exceed Python's
# limits.
UNREADABLE = (ValueError, RecursionError)

# With this value of ``wbits``, zlib finds out from the header whether the format is gzip or zlib.
_GZIP_OR_ZLIB = 47
_COMPRESSED = ("gzip", "x-gzip", "deflate")


class BodyTooLarge(requests.RequestException, HTTPError):
    """The body is larger than the reader allows."""


def read_chunks(
    response: requests.Response, timeout: float, *, max_bytes: int = JSON_LIMIT_BYTES
) -> Iterator[bytes]:
    """Yields the chunks of a body as they arrive, decompressed; needs ``stream=True``.

    ``timeout`` (seconds) applies to each chunk, the turn's deadline to all of them. Raises
    ``BodyTooLarge`` beyond ``max_bytes`` bytes, ``DeadlineExceeded``, ``requests.ReadTimeout`` or
    another ``requests.RequestException``.
    """
    try:
        # ``iter_content`` would wait until a chunk is full.
        yield from read_raw_chunks(response.raw, timeout, max_bytes=max_bytes)
    except BodyTooLarge:
        raise
    except ReadTimeoutError as error:
        raise requests.ReadTimeout(error) from error
    except HTTPError as error:
        raise requests.ConnectionError(error) from error


def read_raw_chunks(raw: Any, timeout: float, *, max_bytes: int) -> Iterator[bytes]:
    """``read_chunks`` for a response of urllib3; raises ``urllib3.exceptions.HTTPError``."""
    received = _limit_size(_receive(raw, timeout), max_bytes)
    encoding = raw.headers.get("Content-Encoding", "").strip().lower()
    return _limit_size(_decompress(received), max_bytes) if encoding in _COMPRESSED else received


def read_body(response: requests.Response, seconds: float) -> bytes:
    """The whole body, ``JSON_LIMIT_BYTES`` at most, within ``seconds``; needs ``stream=True``.

    Takes no account of the turn's deadline. Raises ``BodyTooLarge`` or another
    ``requests.RequestException``.
    """
    try:
        with Deadline(seconds).applied():
            return b"".join(read_chunks(response, seconds))
    except DeadlineExceeded:
        raise requests.ReadTimeout(f"no whole answer in {seconds:g} s") from None


def limit_answer_time(seconds: float) -> Callable[..., None]:
    """A response hook for requests, which reads the body as ``read_body`` does."""

    def read(response: requests.Response, **_: object) -> None:
        try:
            body = read_body(response, seconds)
        except requests.RequestException:
            response.close()
            raise
        response.raw = io.BytesIO(body)

    return read


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; empty if the body holds anything else."""
    try:
        value = json.loads(body)
    except UNREADABLE:
        return {}
    return value if isinstance(value, dict) else {}


def _receive(raw: Any, timeout: float) -> Iterator[bytes]:
    while chunk := raw.read1(CHUNK_BYTES, decode_content=False):
        yield chunk
        seconds = clamp(timeout)
        # A body that has ended has released its connection.
        if raw.connection and raw.connection.sock:
            raw.connection.sock.settimeout(seconds)


def _limit_size(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    remaining = limit
    for chunk in chunks:
        remaining -= len(chunk)
        if remaining < 0:
            raise BodyTooLarge("the answer is too large")
        yield chunk


def _decompress(compressed: Iterator[bytes]) -> Iterator[bytes]:
    """Yields chunks of up to ``CHUNK_BYTES``, however much a compressed chunk expands to.

    urllib3's decoder is not used: it reads on without a limit while chunks expand to nothing.
    """
    decompressor = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        for chunk in compressed:
            rest = chunk
            while rest and not decompressor.eof:
                yield decompressor.decompress(rest, CHUNK_BYTES)
                rest = decompressor.unconsumed_tail
        yield decompressor.flush()
    except zlib.error as error:
        raise DecodeError("the answer cannot be decompressed") from error
