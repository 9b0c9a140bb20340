"""Synchronous messages to the Agentforce stand-in."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.agentforce.helpdesk import DEFAULT_FILE, Helpdesk
from sandbox.latency import LatencyProfile
from tests.sandbox.agentforce.provider import (
    ARABIC,
    QUESTION,
    Provider,
    Start,
    types,
)


def test_an_answer_is_an_inform_with_its_ids(provider: Provider) -> None:
    """The text is under message, in UTF-8, and planId equals feedbackId."""
    answer = provider.ask(provider.session(), ARABIC)
    message = answer.json()["messages"][0]
    assert message["message"].startswith("لتسجيل فاتورة إلكترونية")
    assert "لتسجيل".encode() in answer.content
    assert message["feedbackId"] == message["planId"] != ""
    assert message["isContentSafe"] is True
    assert message["result"] == message["citedReferences"] == []
    assert answer.json()["_links"]["messages"]["href"].endswith("/messages")


def test_questions_are_recorded(provider: Provider) -> None:
    """With their text, session, sender and kind of call."""
    session = provider.session()
    provider.ask(session, number=5)
    provider.events(session, ARABIC, 6)
    first, second = provider.standin.questions
    assert (first.text, first.sequence_id, first.streamed) == (QUESTION, 5, False)
    assert (second.text, second.sequence_id, second.streamed) == (ARABIC, 6, True)
    assert first.session_id == second.session_id == session
    assert first.external_session_key == "6c1f6a8e"
    assert second.at > first.at


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"type": "Text", "text": "Hi"}, "Missing required creator property 'sequenceId'"),
        ({"sequenceId": 1, "text": "Hi"}, "Missing required creator property 'type'"),
        ({"type": "Text", "sequenceId": 1}, "Missing required creator property 'text'"),
        ({"type": "Text", "sequenceId": True, "text": "Hi"}, "sequenceId"),
        ({"type": "Speech", "sequenceId": 1, "text": "Hi"}, "type"),
    ],
)
def test_a_malformed_message_is_refused(
    provider: Provider, message: dict[str, Any], complaint: str
) -> None:
    """The 400 names the wrong property, and the agent is not asked."""
    body = {"message": message, "sequenceId": 1}
    refused = provider.ask(provider.session(), json=body)
    assert refused.status_code == 400
    assert complaint in refused.json()["message"]
    assert len(provider.rules) == 1
    assert provider.standin.questions == []


def test_sequence_numbers_must_rise(provider: Provider) -> None:
    """Gaps and strings of digits are allowed; an equal or lower number is a violation."""
    session = provider.session()
    answers = [provider.ask(session, number=number) for number in (1, 5, 5, 2)]
    assert [answer.status_code for answer in answers] == [200, 200, 400, 400]
    assert len(provider.rules) == 2
    message = {"type": "Text", "sequenceId": "6", "text": "Hello"}
    assert provider.ask(session, json={"message": message}).status_code == 200


def test_accept_event_stream_on_the_synchronous_call_gives_500(provider: Provider) -> None:
    """The sequence number counts as used."""
    session = provider.session()
    assert provider.ask(session, headers={"Accept": "text/event-stream"}).status_code == 500
    assert provider.ask(session).status_code == 400
    assert provider.ask(session, number=2).status_code == 200


def test_an_unknown_session_is_not_found(provider: Provider) -> None:
    """The 404 has the API's format, with the internal path."""
    unknown = str(uuid.uuid4())
    refused = provider.ask(unknown)
    body = refused.json()
    assert refused.status_code == body["status"] == 404
    assert body["message"] == f"V6Session not found for sessionId: {unknown}"
    assert body["error"] == "NotFoundException"
    assert body["path"] == f"v6.0.0/sessions/{unknown}/messages"
    assert body["requestId"] == refused.headers["X-Request-ID"]
    assert provider.rules == []


def test_sessions_expire(provider: Provider) -> None:
    """Expired sessions are not found, which is no violation."""
    forgotten = provider.session()
    provider.standin.forget_sessions()
    idle = provider.session()
    assert provider.ask(forgotten).status_code == 404
    provider.standin.session_idle_seconds = 0
    assert provider.ask(idle).status_code == 404
    assert provider.rules == []


def test_a_second_message_during_a_turn_is_refused(start: Start) -> None:
    """It gets 423 and is a violation; the first message is answered, and so is a third one."""
    provider = start(latency=LatencyProfile(ask=0.5))
    session = provider.session()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(provider.ask, session)
        provider.recorder.wait_for(lambda: provider.standin.questions)
        locked = provider.ask(session, number=2)
        ending = provider.end(session)
        assert first.result().status_code == 200
    assert (locked.status_code, locked.json()["error"]) == (423, "ServerBusyError")
    assert ending.status_code == 423
    assert provider.rules == ["a second request on a session while one runs"] * 2
    assert provider.ask(session, number=3).status_code == 200


@pytest.mark.parametrize("way", ["ask", "stream"])
def test_calls_above_the_concurrency_limit_get_429(start: Start, way: str) -> None:
    """For questions and new sessions; a slot is free before the client has the answer."""
    provider = start()
    session, other = provider.session(), provider.session()
    provider.standin.concurrency = 1
    provider.fail("ask", kind="hang", seconds=0.5)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(lambda: getattr(provider, way)(session).content)
        provider.recorder.wait_for(lambda: provider.standin.busy)
        surplus = provider.ask(other)
        starting = provider.start()
        assert b"electronic invoice" in first.result()
    assert (surplus.status_code, surplus.json()["error"]) == (429, "TooManyRequestsError")
    assert starting.status_code == 429
    for number in range(2, 12):
        answer = getattr(provider, way)(other, number=number)
        assert (answer.status_code, bool(answer.content)) == (200, True)
    assert provider.rules == []


def test_a_message_after_a_hanging_one_is_no_violation(provider: Provider) -> None:
    """A client whose call timed out gets 423 until the agent has finished."""
    session = provider.session()
    provider.fail("ask", kind="hang", seconds=0.4)
    with pytest.raises(requests.ReadTimeout):
        provider.ask(session, timeout=0.1)
    assert provider.ask(session, number=2).status_code == 423
    assert provider.rules == []


def test_different_sessions_do_not_wait_for_each_other(start: Start) -> None:
    """Ten turns of 0.3 s at once take far less than 3 s."""
    provider = start(latency=LatencyProfile(ask=0.3))
    sessions = [provider.session() for _ in range(10)]
    started = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(provider.ask, sessions))
    assert time.monotonic() - started < 1.5
    assert {answer.status_code for answer in answers} == {200}


def test_a_call_that_takes_too_long_ends_in_500(provider: Provider) -> None:
    """The API gives up after call_seconds, and the session is free again."""
    provider.standin.call_seconds = 0.1
    provider.fail("ask", kind="hang", seconds=5)
    session = provider.session()
    assert provider.ask(session).status_code == 500
    assert provider.ask(session, number=2).status_code == 200


def test_an_empty_question_is_a_violation(provider: Provider) -> None:
    """Each call costs credits."""
    assert provider.ask(provider.session(), " ").status_code == 200
    assert provider.rules == ["the agent was asked nothing"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Can I talk to a human?", ["Inform", "Escalate"]),
        ("Please cancel my invoice", ["Confirm"]),
        ("What is the status of my invoice?", ["Inquire"]),
        ("Export all my invoices", ["Failure"]),
        ("Goodbye", ["Inform", "SessionEnded"]),
        ("What documents do I need?", ["Inform", "Inform", "Inform"]),
        ("test empty", []),
        ("test validation failure", ["Inform"]),
    ],
)
def test_the_messages_of_an_answer_come_in_order(
    provider: Provider, question: str, expected: list[str]
) -> None:
    """Each has an id; messages that only streams have are left out."""
    messages = provider.ask(provider.session(), question).json()["messages"]
    assert types(messages) == expected
    assert all(uuid.UUID(message["id"]) for message in messages)


def test_messages_have_the_fields_of_their_type(provider: Provider) -> None:
    """The fields are those of recorded messages."""
    session = provider.session()
    questions = ["What is the status of my invoice?", "Cancel my invoice", "Export a report"]
    answers = [provider.ask(session, text, number) for number, text in enumerate(questions)]
    inquire, confirm, failure = (answer.json()["messages"][0] for answer in answers)
    escalate = provider.ask(session, "a human please", 9).json()["messages"][1]
    assert inquire["collect"][0]["data"] is None
    assert confirm["confirm"][0]["value"] == {"invoiceNumber": "2041"}
    assert (failure["code"], failure["message"]) == ("ACTION_FAILED", "")
    assert failure["errors"]
    assert escalate["targets"][0]["type"] == "Salesforce:Core:Flow:Id"
    assert "message" not in escalate


def test_the_agent_can_end_the_session(provider: Provider) -> None:
    """After SessionEnded the session is not found, and another question is a violation."""
    session = provider.session()
    ended = provider.ask(session, "Goodbye").json()["messages"][1]
    assert ended["reason"] == "Action"
    assert [one.reason for one in provider.standin.ended] == ["Action"]
    assert provider.ask(session, number=2).status_code == 404
    assert provider.rules == ["a request to a session that ended: Action"]


def test_a_broken_helpdesk_file_gives_500(start: Start, tmp_path: Path) -> None:
    """The message names the line, for the person who edits the file."""
    file = tmp_path / "helpdesk.toml"
    file.write_bytes(DEFAULT_FILE.read_bytes())
    provider = start(helpdesk=Helpdesk(file))
    session = provider.session()
    file.write_text("yes = yes", encoding="utf-8")
    refused = [provider.ask(session), provider.start()]
    assert [answer.status_code for answer in refused] == [500, 500]
    assert all("line 1" in answer.json()["message"] for answer in refused)
    file.write_bytes(DEFAULT_FILE.read_bytes())
    assert provider.ask(session, number=2).status_code == 200
