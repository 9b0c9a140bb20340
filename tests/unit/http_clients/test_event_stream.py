"""Any bytes that arrive as an event stream give a clean answer or an ``AgentError``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from agentforce import read_stream
from core.errors import AgentError
from core.models import AgentReply
from http_clients.event_stream import read_events
from text.markdown import clean

KINDS = "Inform Inquire Confirm Failure Escalate SessionEnded TextChunk EndOfTurn Error New".split()
HOSTILE = ["\x00", "\u202e", "\ud800", "\ude00", "\r", "\x1b[2J", "\n\n", "data: ", "مرحبا", "🚀"]
TEXT = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=5)), max_size=4).map("".join)
END = b'data: {"message": {"type": "EndOfTurn"}}\n\n'


def event(message: Any) -> bytes:
    """Surrogates are escaped, as JSON does."""
    return b"event: X\ndata: " + json.dumps(message).encode() + b"\n\n"


MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS), "message": TEXT},
    optional={"code": TEXT, "error": TEXT, "httpStatus": st.integers()},
)
EVENTS: SearchStrategy[bytes] = st.one_of(
    MESSAGES.map(lambda message: event({"message": message})),
    st.lists(MESSAGES, max_size=3).map(lambda messages: event({"messages": messages})),
    st.binary(max_size=30),
    st.sampled_from([b"data\n\n", b":\n", b"data:{\n\n", b"id: \xff\n\n", b"\r\n\r\n", b"\r\r"]),
)


def read(stream: bytes, size: int) -> AgentReply:
    """Read the stream in chunks of ``size`` bytes."""
    chunks = (stream[start : start + size] for start in range(0, len(stream), size))
    return read_stream(read_events(chunks))


@given(st.lists(EVENTS, max_size=8), st.integers(1, 50), st.booleans())
def test_any_stream_gives_an_answer_or_an_error(
    events: list[bytes], size: int, ended: bool
) -> None:
    try:
        reply = read(b"".join(events) + (END if ended else b""), size)
    except AgentError as error:
        assert str(error).isprintable()
        return
    assert reply.text == clean(reply.text).strip()
    reply.text.encode()


@given(TEXT)
def test_chunks_are_cleaned_as_the_whole_text(text: str) -> None:
    chunks = [event({"message": {"type": "TextChunk", "message": sign}}) for sign in text]
    assert read(b"".join(chunks) + END, 7).text == clean(text).strip()


@pytest.mark.parametrize("nested", [b"[" * 100_000, b'{"message":' * 100_000, b"9" * 100_000])
def test_json_beyond_the_limits_of_python_is_skipped(nested: bytes) -> None:
    assert read(b"data: " + nested + b"\n\n" + END, 65536) == AgentReply()
