"""Reading server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator


def read_events(body: Iterable[bytes]) -> Iterator[str]:
    """The ``data`` of each event that has any, as soon as the event is whole.

    An event that the end of the body cuts off counts as whole. Each byte is looked at once, however
    the body is cut into chunks. Raises ``UnicodeDecodeError`` where it is not UTF-8.
    """
    data: list[str] = []
    for line in _lines(body):
        field, _, value = line.partition(":")
        if field == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
    if data:
        yield "\n".join(data)


def _lines(body: Iterable[bytes]) -> Iterator[str]:
    """Lines without their ends, of which CR, LF and CRLF are three."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(), translate=True)
    begun: list[str] = []
    for chunk in body:
        end, *lines = decoder.decode(chunk).split("\n")
        begun.append(end)
        for line in lines:
            yield "".join(begun)
            begun = [line]
    begun.append(decoder.decode(b"", final=True))
    yield from "".join(begun).split("\n")
