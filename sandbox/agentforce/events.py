"""The format of an agent's messages: as JSON in one response, and as an event stream.

docs/providers/agentforce.md, "Message types" and docs/providers/agentforce.md, "Event stream".
"""

from __future__ import annotations

import itertools
import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]

# Fractions of a turn's duration: progress comes early, text shortly before the end
# (docs/providers/agentforce.md, "Latency").
PROGRESS_AT = 0.1
TEXT_FROM = 0.6
# The last two events are this many seconds apart.
END_AFTER_SECONDS = 0.004
WORDS_PER_CHUNK = 3
BYTES_PER_PIECE = 7
EVENTS_PER_JOINED_WRITE = 4
# Long enough for two writes to be sent as two packets.
_PACKET_SECONDS = 0.002

# Keys of the help desk's messages that control how they are sent, and are not sent themselves.
_CONTROL_KEYS = ("draft", "event", "envelope")
_STREAM_ONLY = ("TextChunk", "ValidationFailureChunk", "EndOfTurn")
_LAST = ("SessionEnded", "Error")
# Fields that recorded messages of a type have beside their text.
_FIELDS: dict[str, Json] = {
    "Inform": {"isContentSafe": True, "result": [], "citedReferences": []},
    "Inquire": {"isContentSafe": True, "message": "", "collect": []},
    "Confirm": {"isContentSafe": True, "message": "", "confirm": []},
    "Failure": {"isContentSafe": True, "code": "ACTION_FAILED", "message": "", "errors": []},
    "Escalate": {"targets": []},
    "SessionEnded": {"reason": "Action"},
    "Error": {
        "isContentSafe": True,
        "httpStatus": 500,
        "error": "INTERNAL_SERVER_ERROR",
        "message": "",
        "expected": False,
        "botMode": "production",
    },
}
_WITHOUT_FEEDBACK = ("SessionEnded", "ProgressIndicator", *_STREAM_ONLY)


@dataclass(frozen=True)
class StreamStyle:
    """Variations of the stream's framing that do not change its content.

    ``writes`` is how events are divided into network writes: one ``event`` each, ``pieces`` of a
    few bytes, ``split_character`` (divided inside a UTF-8 character), or several ``joined``.
    Without ``end_of_turn`` the stream ends as if it had been truncated.
    """

    newline: Literal["\n", "\r\n"] = "\n"
    writes: Literal["event", "pieces", "split_character", "joined"] = "event"
    text_chunks: bool = True
    end_of_turn: bool = True
    final_blank_line: bool = True
    comments: bool = False


@dataclass(frozen=True)
class Event:
    """One event; it is sent at the fraction ``due`` of the turn's time, plus ``after`` seconds."""

    name: str
    message: Json
    due: float
    after: float = 0.0
    offset: int = 0
    envelope: str = "message"

    @property
    def is_decisive(self) -> bool:
        """Whether it confirms or takes back the text chunks before it."""
        return self.due == 1.0 or self.message["type"] == "ValidationFailureChunk"


def synchronous_messages(messages: list[Json]) -> list[Json]:
    """The messages of a synchronous response, with their ids."""
    feedback_id = str(uuid.uuid4())
    sent = (message for message in messages if message["type"] not in _STREAM_ONLY)
    return [_complete(message, feedback_id) for message in sent]


def greeting(text: str) -> Json:
    """The first message of a session, whose ``feedbackId`` and ``planId`` are empty."""
    return _complete({"type": "Inform", "message": text}, "")


def session_ended() -> Json:
    """The answer to a DELETE; its reason differs from that in the request."""
    return {**_complete({"type": "SessionEnded", "reason": "ClientRequest"}, ""), "feedbackId": ""}


def end_reason(messages: list[Json]) -> str | None:
    """The reason of the first ``SessionEnded``; None if the session goes on."""
    for message in messages:
        if message["type"] == "SessionEnded":
            return str(message.get("reason", "Action"))
    return None


def _complete(message: Json, feedback_id: str) -> Json:
    """Add the ids and the fields of its type."""
    sent = {key: value for key, value in message.items() if key not in _CONTROL_KEYS}
    kind = sent.pop("type")
    ids: Json = {"type": kind, "id": str(uuid.uuid4())}
    if kind not in _WITHOUT_FEEDBACK:
        ids |= {"metrics": {}, "feedbackId": feedback_id, "planId": feedback_id}
    if "collect" in sent:
        sent["collect"] = [{**field, "data": None} for field in sent["collect"]]
    return ids | _FIELDS.get(kind, {}) | sent


class Stream:
    """The events of one turn, in order."""

    def __init__(
        self, messages: list[Json], *, text_chunks: bool, style: StreamStyle, links: Json
    ) -> None:
        self._style = style
        self._text_chunks = text_chunks and style.text_chunks
        self._links = links
        self._origin = f"{int(time.time() * 1000)}-REQ"
        self._trace = uuid.uuid4().hex
        self._feedback_id = str(uuid.uuid4())
        self._offsets = itertools.count(1)
        self.events = list(self._plan(messages))

    def blocks(self) -> Iterator[tuple[Event, bytes]]:
        """Each event with its encoded lines."""
        for position, event in enumerate(self.events, start=1):
            yield event, self._encode(event, last=position == len(self.events))

    def _plan(self, messages: list[Json]) -> Iterator[Event]:
        progress = {"type": "ProgressIndicator", "indicatorType": "ACTION"}
        yield self._event({**progress, "message": "Working on it"}, PROGRESS_AT)
        chunks = list(self._chunks(messages)) if self._text_chunks else []
        step = (1.0 - TEXT_FROM) / (len(chunks) or 1)
        for number, chunk in enumerate(chunks):
            # Only text chunks are known to have an offset in the envelope.
            offset = chunk["offset"] if chunk["type"] == "TextChunk" else 0
            yield self._event(chunk, TEXT_FROM + number * step, offset=offset)
        ended = False
        for message in messages:
            if message["type"] not in _STREAM_ONLY:
                yield self._event(message, 1.0)
                ended = ended or message["type"] in _LAST
        if self._style.end_of_turn and not ended:
            yield self._event({"type": "EndOfTurn"}, 1.0, after=END_AFTER_SECONDS)

    def _chunks(self, messages: list[Json]) -> Iterator[Json]:
        for message in messages:
            if message["type"] == "ValidationFailureChunk":
                yield from self._text_chunks_of(message.get("draft", ""))
                yield {**message, "offset": next(self._offsets)}
            elif message["type"] in ("TextChunk", "Inform", "Inquire", "Confirm"):
                yield from self._text_chunks_of(message.get("message", ""))

    def _text_chunks_of(self, text: str) -> Iterator[Json]:
        for words in re.findall(rf"(?:\s*\S+){{1,{WORDS_PER_CHUNK}}}\s*", text):
            offset = next(self._offsets)
            yield {"type": "TextChunk", "offset": offset, "message": words, "formatType": "Text"}

    def _event(self, message: Json, due: float, *, offset: int = 0, after: float = 0.0) -> Event:
        sent = _complete(message, self._feedback_id)
        name = str(message.get("event", _event_name(sent["type"])))
        envelope = str(message.get("envelope", "message"))
        return Event(name, sent, due, after, offset, envelope)

    def _encode(self, event: Event, *, last: bool) -> bytes:
        data = json.dumps(self._data(event), ensure_ascii=False, separators=(",", ":"))
        lines = [f"event: {event.name}", f"id: {self._origin}", f"data: {data}"]
        if self._style.comments:
            lines.insert(0, ": keep-alive")
        blank = [] if last and not self._style.final_blank_line else ["", ""]
        return self._style.newline.join([*lines, *blank]).encode()

    def _data(self, event: Event) -> Json:
        if event.envelope == "messages":
            return {"messages": [event.message], "_links": self._links}
        if event.envelope == "bare":
            return _bare_error(event.message)
        return {
            "timestamp": int(time.time() * 1000),
            "originEventId": self._origin,
            "traceId": self._trace,
            "offset": event.offset,
            "message": event.message,
        }


def _bare_error(message: Json) -> Json:
    """The data of an error event without an envelope: the API's error object."""
    return {
        "status": message["httpStatus"],
        "path": "v6.0.0/messages/stream",
        "requestId": str(uuid.uuid4()),
        "error": message["error"],
        "message": message["message"],
        "timestamp": int(time.time() * 1000),
    }


def _event_name(kind: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).upper()


def divide_into_writes(blocks: Iterable[bytes], style: StreamStyle) -> Iterator[bytes]:
    """The bytes of each network write, as ``style.writes`` says."""
    if style.writes == "joined":
        yield from _join(blocks)
        return
    for block in blocks:
        if style.writes == "pieces":
            for start in range(0, len(block), BYTES_PER_PIECE):
                yield block[start : start + BYTES_PER_PIECE]
        elif style.writes == "split_character":
            yield from _split(block)
        else:
            yield block


def _join(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Three and a half events in each write, so that no event ends where a write ends."""
    pending = b""
    for number, block in enumerate(blocks, start=1):
        pending += block
        if number % EVENTS_PER_JOINED_WRITE == 0:
            end = len(pending) - len(block) // 2
            yield pending[:end]
            pending = pending[end:]
    yield pending


def _split(block: bytes) -> Iterator[bytes]:
    """Two writes, divided inside a multi-byte character if the block has one."""
    continuation_bytes = [index for index, byte in enumerate(block) if byte & 0xC0 == 0x80]
    middle = len(block) // 2
    if continuation_bytes:
        middle = continuation_bytes[len(continuation_bytes) // 2]
    yield block[:middle]
    time.sleep(_PACKET_SECONDS)
    yield block[middle:]
