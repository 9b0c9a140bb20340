"""Reading server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator


def read_events(body: Iterable[bytes]) -> Iterator[str]:
    """Yields the ``data`` of each event that has any, as soon as the event is complete.

    The end of the body completes the last event. The time is linear in the size of the body,
    however it is cut into chunks. Raises ``UnicodeDecodeError`` if the body is not UTF-8.
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
    """The lines of a body, without their ends, which may be CR, LF or CRLF."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(), translate=True)
    # The line that is not complete yet, as it was divided into chunks.
    unfinished: list[str] = []
    for chunk in body:
        line_end, *next_lines = decoder.decode(chunk).split("\n")
        unfinished.append(line_end)
        for line in next_lines:
            yield "".join(unfinished)
            unfinished = [line]
    unfinished.append(decoder.decode(b"", final=True))
    yield from "".join(unfinished).split("\n")
