"""What an Agentforce agent answered, read from a JSON answer or an event stream.

contracts/agentforce.md §3.4 (message types) and §4 (stream).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import structlog

from error_codes import codes_in
from errors import AgentFailed, AnswerTruncated
from markup import clean, paragraphs

log = structlog.get_logger(__name__)

Message = dict[str, Any]

# Everything else either has a meaning of its own or is shown if it carries a text (§3.4).
_UNSHOWN = ("ProgressIndicator", "ThoughtTextChunk", "LightningChunk", "EndOfTurn")


class Listener(Protocol):
    """Follows an answer while it is written; neither method may raise."""

    def write(self, chunk: str) -> None:
        """The answer goes on with ``chunk`` (Markdown), for all that is known so far."""

    def discard(self) -> None:
        """What was written so far is not part of the answer."""


@dataclass(frozen=True)
class AgentReply:
    """``text`` is Markdown and may be empty; the flags say what happened besides.

    ``asks``: the agent waits for something to be told or confirmed.
    """

    text: str = ""
    escalated: bool = False
    ended: bool = False
    failed: bool = False
    asks: bool = False


def read_messages(messages: Iterable[Message]) -> AgentReply:
    """Join the texts of an answer's messages and note what they mean.

    Raises ``AgentFailed`` where one of them is an ``Error``.
    """
    texts: list[str] = []
    escalated = ended = failed = asks = False
    for message in messages:
        kind = message.get("type")
        if kind == "Error":
            raise _error(message)
        escalated |= kind == "Escalate" or message.get("code") == "ESCALATE"
        ended |= kind == "SessionEnded"
        failed |= kind == "Failure" and message.get("code") != "ESCALATE"
        asks |= kind in ("Inquire", "Confirm")
        if kind not in _UNSHOWN:
            texts.append(_text(message))
    return AgentReply(clean(paragraphs(texts)).strip(), escalated, ended, failed, asks)


def read_stream(events: Iterable[str], listener: Listener | None = None) -> AgentReply:
    """Read a turn from the ``data`` of its events, up to its end.

    A final message replaces the chunks before it; a ``ValidationFailureChunk`` discards them.
    Raises ``AgentFailed`` on an error event, ``AnswerTruncated`` where the end is missing.
    """
    turn = _Turn(listener)
    for data in events:
        for message in _messages(data):
            turn.take(message)
        if turn.over:
            return turn.reply()
    raise AnswerTruncated


@dataclass
class _Turn:
    listener: Listener | None
    chunks: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    over: bool = False

    def take(self, message: Message) -> None:
        kind = message.get("type")
        if kind == "TextChunk":
            self._write(_text(message))
        elif kind == "ValidationFailureChunk":
            self._discard()
        else:
            self.messages.append(message)
            self.over |= kind in ("EndOfTurn", "SessionEnded", "Error")

    def _write(self, chunk: str) -> None:
        self.chunks.append(chunk)
        if self.listener:
            self.listener.write(chunk)

    def _discard(self) -> None:
        self.chunks.clear()
        if self.listener:
            self.listener.discard()

    def reply(self) -> AgentReply:
        reply = read_messages(self.messages)
        if reply.text:
            return reply
        return replace(reply, text=clean("".join(self.chunks)).strip())


def _messages(data: str) -> Iterator[Message]:
    """The messages of one event: an envelope, a bare error, or a whole answer (§4.2)."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        log.warning("Agentforce sent an event that is not JSON", length=len(data))
        return
    if not isinstance(event, dict):
        return
    if isinstance(event.get("message"), dict):
        yield event["message"]
    elif isinstance(event.get("messages"), list):
        yield from (message for message in event["messages"] if isinstance(message, dict))
    elif "error" in event:
        yield {**event, "type": "Error"}


def _text(message: Message) -> str:
    text = message.get("message")
    return text if isinstance(text, str) else ""


def _error(message: Message) -> AgentFailed:
    status = message.get("httpStatus", message.get("status"))
    names = codes_in(str(message.get("error"))) or ["an error"]
    of = f" ({status})" if isinstance(status, int) else ""
    return AgentFailed(f"Agentforce ended the turn with {' '.join(names)}{of}")
