"""Streamed messages of the Agentforce stand-in."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
import requests

from sandbox.agentforce.events import StreamStyle
from sandbox.latency import LatencyProfile
from tests.sandbox.agentforce.provider import (
    ARABIC,
    QUESTION,
    Provider,
    Start,
    types,
)


def test_a_stream_is_progress_chunks_inform_and_end(provider: Provider) -> None:
    """All events share an id; chunks count from 1 and together give the text of the Inform."""
    events = provider.events(provider.session())
    names = [name for name, _, _ in events]
    chunks = [data for name, _, data in events if name == "TEXT_CHUNK"]
    inform = events[-2][2]["message"]
    assert names == ["PROGRESS_INDICATOR", *["TEXT_CHUNK"] * len(chunks), "INFORM", "END_OF_TURN"]
    assert "".join(chunk["message"]["message"] for chunk in chunks) == inform["message"]
    offsets = [(chunk["offset"], chunk["message"]["offset"]) for chunk in chunks]
    assert offsets == [(number, number) for number in range(1, len(chunks) + 1)]
    assert len({identity for _, identity, _ in events}) == 1
    assert all(data["originEventId"] == identity for _, identity, data in events)
    assert inform["feedbackId"] == inform["planId"] != ""
    assert provider.rules == []


def test_lines_come_in_the_recorded_order(provider: Provider) -> None:
    """event, id, data on one line each, and a blank line."""
    answer = provider.stream(provider.session())
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    lines = answer.content.decode().split("\n")
    assert [line.partition(":")[0] for line in lines[:5]] == ["event", "id", "data", "", "event"]
    assert answer.content.endswith(b"\n\n")


def test_without_chunk_types_there_are_no_chunks(provider: Provider) -> None:
    """Only sessions that were started with text chunks get them."""
    session = provider.session(streamingCapabilities=None)
    names = [name for name, _, _ in provider.events(session)]
    assert names == ["PROGRESS_INDICATOR", "INFORM", "END_OF_TURN"]


def test_a_stream_without_its_accept_header_works_but_is_a_violation(provider: Provider) -> None:
    """The reference requires the header, the service does not."""
    message = {"type": "Text", "sequenceId": 1, "text": QUESTION}
    path = f"sessions/{provider.session()}/messages/stream"
    assert provider.call("POST", path, json={"message": message}).status_code == 200
    assert provider.rules == ["Accept is not text/event-stream"]


STYLES = [
    StreamStyle(newline="\r\n"),
    StreamStyle(writes="pieces"),
    StreamStyle(writes="split_character"),
    StreamStyle(writes="joined"),
    StreamStyle(comments=True),
]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_a_style_changes_the_framing_only(provider: Provider, style: StreamStyle) -> None:
    """A parser that follows the standard reads the same text in any style."""
    provider.standin.stream_style = style
    events = provider.events(provider.session(), ARABIC)
    assert events[0][0] == "PROGRESS_INDICATOR"
    assert events[-1][0] == "END_OF_TURN"
    assert events[-2][2]["message"]["message"].startswith("لتسجيل")
    assert provider.rules == []


def test_the_styles_change_the_network_writes(provider: Provider) -> None:
    """CRLF, half characters, several events in a chunk, no chunks, no end, no blank line."""
    session = provider.session()

    def chunks(number: int, **style: Any) -> list[bytes]:
        provider.standin.stream_style = StreamStyle(**style)
        return list(provider.stream(session, ARABIC, number).raw.stream())

    crlf = b"".join(chunks(1, newline="\r\n"))
    assert crlf.count(b"\n") == crlf.count(b"\r\n") > 0
    split = chunks(2, writes="split_character")
    assert all(second[0] & 0xC0 == 0x80 for second in split[3:-2:2])
    assert max(chunk.count(b"event: ") for chunk in chunks(3, writes="joined")) > 1
    assert max(map(len, chunks(4, writes="pieces"))) < 10
    assert b"TEXT_CHUNK" not in b"".join(chunks(5, text_chunks=False))
    assert b"END_OF_TURN" not in b"".join(chunks(6, end_of_turn=False))
    assert b"".join(chunks(7, final_blank_line=False)).endswith(b"}")
    assert b": keep-alive" in b"".join(chunks(8, comments=True))


def test_a_turn_takes_its_latency_once(start: Start) -> None:
    """Progress comes early, text after 60 % of the time, and the end after all of it."""
    provider = start(latency=LatencyProfile(ask=1.0))
    session = provider.session()
    started = time.monotonic()
    answer = provider.stream(session)
    seen: dict[bytes, float] = {}
    for line in answer.iter_lines(chunk_size=1):
        if line.startswith(b"event: "):
            seen.setdefault(line[7:], time.monotonic() - started)
    assert seen[b"PROGRESS_INDICATOR"] < 0.4
    assert 0.55 < seen[b"TEXT_CHUNK"] < 0.9
    assert 1.0 <= seen[b"INFORM"] <= seen[b"END_OF_TURN"] < 1.4


def test_the_next_message_may_follow_the_end_of_a_turn_at_once(provider: Provider) -> None:
    """The session is unlocked before END_OF_TURN is sent."""
    session = provider.session()
    for number in range(1, 30):
        for line in provider.stream(session, "hello", number).iter_lines(chunk_size=1):
            if line == b"event: END_OF_TURN":
                break
    assert provider.rules == []


def test_a_cut_stream_ends_before_the_end_of_the_turn(provider: Provider) -> None:
    """About half of it arrives, and the session is unlocked."""
    session = provider.session()
    provider.fail("ask", kind="cut")
    chunks = provider.stream(session).iter_content(None)
    received = next(chunks)
    assert b"TEXT_CHUNK" in received
    assert b"END_OF_TURN" not in received
    with pytest.raises(requests.RequestException):
        next(chunks)
    assert provider.ask(session, number=2).status_code == 200
    assert provider.rules == []


@pytest.mark.parametrize("streamed", [True, False])
def test_a_question_whose_answer_was_lost_has_reached_the_agent(
    provider: Provider, streamed: bool
) -> None:
    """The connection breaks after the work, and the sequence number is used."""
    session = provider.session()
    provider.fail("ask", kind="vanish")
    with pytest.raises(requests.ConnectionError):
        (provider.stream if streamed else provider.ask)(session)
    assert len(provider.standin.questions) == 1
    assert provider.ask(session).status_code == 400
    assert provider.ask(session, number=2).status_code == 200


def test_a_disconnected_client_unlocks_the_session(start: Start) -> None:
    """The stream stops at the next event that cannot be sent."""
    provider = start(latency=LatencyProfile(ask=0.3))
    session = provider.session()
    answer = provider.stream(session)
    next(answer.iter_content(1))
    assert provider.standin.busy == {session}
    answer.close()
    provider.recorder.wait_for(lambda: not provider.standin.busy)
    assert provider.ask(session, number=2).status_code == 200


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Can I talk to a human?", ["INFORM", "ESCALATE", "END_OF_TURN"]),
        ("Cancel my invoice", ["CONFIRM", "END_OF_TURN"]),
        ("What is the status?", ["INQUIRE", "END_OF_TURN"]),
        ("Export my invoices", ["FAILURE", "END_OF_TURN"]),
        ("Goodbye", ["INFORM", "SESSION_ENDED"]),
        ("test empty", ["END_OF_TURN"]),
        ("test error", ["ERROR"]),
        ("test unknown type", ["UNKNOWN", "UNKNOWN", "INFORM", "END_OF_TURN"]),
        ("test inform without message", ["INFORM", "END_OF_TURN"]),
    ],
)
def test_the_events_of_each_kind_of_answer(
    provider: Provider, question: str, expected: list[str]
) -> None:
    """After SESSION_ENDED and ERROR no END_OF_TURN follows."""
    names = [name for name, _, _ in provider.events(provider.session(), question)]
    assert [name for name in names[1:] if name != "TEXT_CHUNK"] == expected


def test_a_validation_failure_takes_back_the_chunks_before_it(provider: Provider) -> None:
    """Draft, ValidationFailureChunk, then the chunks of the real text."""
    events = provider.events(provider.session(), "test validation failure")
    messages = [data["message"] for _, _, data in events]
    place = types(messages).index("ValidationFailureChunk")
    before, after = messages[1:place], messages[place + 1 : -2]
    assert "99 %" in "".join(chunk["message"] for chunk in before)
    assert "".join(chunk["message"] for chunk in after) == messages[-2]["message"]
    assert messages[place].keys() == {"type", "id", "offset", "reason"}


def test_an_inform_may_come_without_its_message(provider: Provider) -> None:
    """Neither null nor empty: the property is not there."""
    events = provider.events(provider.session(), "test inform without message")
    assert events[1][2]["message"]["type"] == "Inform"
    assert "message" not in events[1][2]["message"]


def test_an_event_may_have_another_envelope(provider: Provider) -> None:
    """An error as itself, or a list of messages, in place of the usual envelope."""
    session = provider.session()
    bare = provider.events(session, "test bare error", 1)[-1]
    assert bare[0] == "ERROR"
    assert bare[2]["status"] == 503
    assert bare[2]["message"] == "The service is temporarily unavailable"
    assert "originEventId" not in bare[2]
    listed = provider.events(session, "test messages envelope", 2)[-2]
    assert listed[0] == "INFORM"
    assert types(listed[2]["messages"]) == ["Inform"]


def test_errors_before_the_stream_are_json(provider: Provider) -> None:
    """They are the same as those of the synchronous call."""
    refused = provider.stream(str(uuid.uuid4()))
    assert refused.status_code == 404
    assert refused.json()["error"] == "NotFoundException"
