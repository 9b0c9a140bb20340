"""Reading answers in every form of docs/providers/agentforce.md, "Message types"."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentforce import read_messages, read_stream
from core.errors import AgentFailed, AnswerTruncated
from core.models import AgentReply
from text.markdown import clean

Json = dict[str, Any]

PROGRESS: Json = {"type": "ProgressIndicator", "indicatorType": "ACTION", "message": "Searching…"}
END: Json = {"type": "EndOfTurn", "id": "e"}
INVALID: Json = {"type": "ValidationFailureChunk", "id": "v", "offset": 5, "reason": "unsafe"}
ENDED: Json = {"type": "SessionEnded", "id": "s", "reason": "Action"}
ESCALATE: Json = {
    "type": "Escalate",
    "feedbackId": "F",
    "targets": [{"type": "Salesforce:Core:Flow:Id", "value": "300xx0000000001"}],
}
FAILURE: Json = {"type": "Failure", "code": "ACTION_FAILED", "message": "", "errors": ["system"]}
ERROR: Json = {
    "type": "Error",
    "httpStatus": 500,
    "error": "INTERNAL_SERVER_ERROR",
    "message": "secret details",
    "expected": False,
}


def inform(text: object = "Hello.", **more: object) -> Json:
    return {
        "type": "Inform",
        "id": "i",
        "message": text,
        "result": [],
        "citedReferences": [],
    } | more


def chunk(text: str, offset: int = 1) -> Json:
    return {"type": "TextChunk", "offset": offset, "message": text, "formatType": "Text"}


def events(*messages: Json) -> list[str]:
    """The ``data`` of one event for each message, in the stream's envelope."""
    return [
        json.dumps({"timestamp": 1, "originEventId": "1-REQ", "offset": 0, "message": message})
        for message in messages
    ]


@pytest.mark.parametrize(
    ("messages", "reply"),
    [
        ([], AgentReply()),
        ([inform("Hi **you**")], AgentReply("Hi **you**")),
        ([inform(" padded\n")], AgentReply("padded")),
        ([inform("One"), inform("Two")], AgentReply("One\n\nTwo")),
        ([inform("One"), inform(""), inform("Two")], AgentReply("One\n\nTwo")),
        ([inform(None)], AgentReply()),
        ([inform({"text": "x"})], AgentReply()),
        ([{"type": "Inform"}], AgentReply()),
        ([inform("Yes", isContentSafe=False)], AgentReply("Yes")),
        ([{"type": "Inquire", "message": "Which?", "collect": []}],
         AgentReply("Which?", asks=True)),
        ([{"type": "Inquire", "collect": [{"data": None}]}], AgentReply(asks=True)),
        ([{"type": "Confirm", "message": "Shall I?", "confirm": []}],
         AgentReply("Shall I?", asks=True)),
        ([FAILURE], AgentReply(failed=True)),
        ([FAILURE | {"message": "No luck"}], AgentReply("No luck", failed=True)),
        ([{"type": "Failure"}], AgentReply(failed=True)),
        ([FAILURE | {"code": "ESCALATE"}], AgentReply(escalated=True)),
        ([inform("Wait"), ESCALATE], AgentReply("Wait", escalated=True)),
        ([ESCALATE | {"targets": [{"id": "1", "type": "Flow", "label": "x"}]}],
         AgentReply(escalated=True)),
        ([{"type": "Escalate"}], AgentReply(escalated=True)),
        ([inform("Bye"), ENDED], AgentReply("Bye", ended=True)),
        ([{"type": "SessionEnded", "reason": "InfiniteLoopDetected"}], AgentReply(ended=True)),
        ([PROGRESS, inform("Hi")], AgentReply("Hi")),
        ([PROGRESS | {"indicatorType": "Processing"}], AgentReply()),
        ([{"type": "ThoughtTextChunk", "message": "hm"}, inform("Hi")], AgentReply("Hi")),
        ([{"type": "LightningChunk", "message": "{}"}, inform("Hi")], AgentReply("Hi")),
        ([{"type": "EscalateToConversationMessage", "targets": []}], AgentReply()),
        ([{"type": "Text", "message": "preview"}], AgentReply("preview")),
        ([{"type": "Brand New", "message": "shown"}], AgentReply("shown")),
        ([{"type": "Brand New", "message": ["x"]}], AgentReply()),
        ([{"type": ["odd"], "message": "shown"}], AgentReply("shown")),
        ([{"type": {}, "message": "shown"}], AgentReply("shown")),
        ([{"message": "no type"}], AgentReply("no type")),
        ([{}], AgentReply()),
        ([inform("مرحبا 👋")], AgentReply("مرحبا 👋")),
    ],
)  # fmt: skip
def test_messages_are_read(messages: list[Json], reply: AgentReply) -> None:
    assert read_messages(messages) == reply


@pytest.mark.parametrize("message", [ERROR, {"type": "Error"}])
@pytest.mark.parametrize("position", [0, 1])
def test_an_error_among_the_messages_is_raised(message: Json, position: int) -> None:
    messages = [inform("Hi")]
    messages.insert(position, message)
    with pytest.raises(AgentFailed) as caught:
        read_messages(messages)
    assert "secret details" not in str(caught.value)


def test_an_error_has_its_code_and_status() -> None:
    with pytest.raises(AgentFailed, match=r"INTERNAL_SERVER_ERROR \(500\)"):
        read_messages([ERROR])


@pytest.mark.parametrize(
    ("messages", "reply"),
    [
        ([PROGRESS, chunk("Here "), chunk("it is"), inform("Here it is."), END],
         AgentReply("Here it is.")),
        ([inform("Short."), END], AgentReply("Short.")),
        ([chunk("Here"), chunk(" it is"), END], AgentReply("Here it is")),
        ([chunk("Here"), chunk(" it is"), inform(""), END], AgentReply("Here it is")),
        ([chunk("Here"), inform(None), END], AgentReply("Here")),
        ([chunk("Bad"), INVALID, chunk("Good"), END], AgentReply("Good")),
        ([chunk("Bad"), INVALID, END], AgentReply()),
        ([chunk("Bad"), INVALID, chunk("Go"), chunk("od"), inform("Good."), END],
         AgentReply("Good.")),
        ([INVALID, inform("Good."), END], AgentReply("Good.")),
        ([inform("One"), inform("Two"), END], AgentReply("One\n\nTwo")),
        ([inform("Wait"), ESCALATE, END], AgentReply("Wait", escalated=True)),
        ([chunk("Wait"), ESCALATE, END], AgentReply("Wait", escalated=True)),
        ([inform("Bye"), ENDED], AgentReply("Bye", ended=True)),
        ([chunk("Bye"), ENDED], AgentReply("Bye", ended=True)),
        ([FAILURE, END], AgentReply(failed=True)),
        ([chunk("Try"), FAILURE | {"message": "No luck"}, END],
         AgentReply("No luck", failed=True)),
        ([{"type": "Inquire", "message": "Which?"}, END], AgentReply("Which?", asks=True)),
        ([{"type": "Confirm", "message": "Shall I?"}, END], AgentReply("Shall I?", asks=True)),
        ([{"type": ["odd"]}, {"type": "New"}, inform("Hi"), END], AgentReply("Hi")),
        ([END], AgentReply()),
    ],
)  # fmt: skip
def test_a_stream_is_read(messages: list[Json], reply: AgentReply) -> None:
    assert read_stream(events(*messages)) == reply


def test_nothing_is_read_after_the_end_of_the_turn() -> None:
    """The stream may stay open, and waiting for its end would delay the answer."""
    stream = iter([*events(inform("Hi"), END), "never read"])
    assert read_stream(stream) == AgentReply("Hi")
    assert next(stream) == "never read"


@pytest.mark.parametrize(
    "data",
    [
        "",
        "not JSON",
        "{",
        "null",
        "1",
        "[]",
        '"text"',
        "{}",
        '{"message": null}',
        '{"message": "text"}',
        '{"messages": "text"}',
        '{"messages": [null, 1, "x"]}',
        '{"messages": []}',
        '{"offset": 0}',
        "[DONE]",
    ],
)
def test_events_that_cannot_be_read_are_skipped(data: str) -> None:
    assert read_stream([data, *events(inform("Hi")), data, *events(END)]) == AgentReply("Hi")


def test_an_event_may_contain_a_whole_answer() -> None:
    """Salesforce's guide has an Inform event of this form."""
    whole = json.dumps({"messages": [inform("One"), inform("Two")], "_links": {}})
    assert read_stream([whole, *events(END)]) == AgentReply("One\n\nTwo")
    complete = json.dumps({"messages": [inform("One"), END, ESCALATE], "_links": {}})
    assert read_stream([complete]) == AgentReply("One", escalated=True)


@pytest.mark.parametrize(
    "error",
    [
        json.dumps({"status": 500, "error": "HttpServerErrorException", "message": "500 [{}]"}),
        json.dumps({"status": 503, "path": "v6", "requestId": "r", "error": "Busy", "message": ""}),
        json.dumps({"error": "x"}),
        *events(ERROR),
        json.dumps({"messages": [ERROR]}),
    ],
)
def test_an_error_event_of_any_form_is_raised(error: str) -> None:
    """At once: an end of the turn does not follow."""
    stream = iter([*events(chunk("Partial")), error, "never read"])
    with pytest.raises(AgentFailed):
        read_stream(stream)
    assert next(stream) == "never read"


@pytest.mark.parametrize(
    "messages", [[], [chunk("Half")], [inform("Whole")], [PROGRESS], [inform("x"), ESCALATE]]
)
def test_a_stream_that_ends_before_the_turn_is_truncated(messages: list[Json]) -> None:
    with pytest.raises(AnswerTruncated):
        read_stream(events(*messages))


def test_chunks_are_joined_in_order_of_arrival() -> None:
    parts = ["**Bo", "ld** ", "and", " ", "مر", "حبا"]
    chunks = [chunk(part, offset) for part, offset in zip(parts, itertools.count(9, -1))]
    assert read_stream(events(*chunks, END)).text == "".join(parts)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "message", "messages", "code", "error", "offset", "x"]), inner
        )
    ),
    max_leaves=8,
)
KINDS = "Inform Inquire Confirm Failure Escalate SessionEnded TextChunk EndOfTurn New".split()
MESSAGES = st.dictionaries(st.sampled_from(["message", "code", "reason"]), JSON).flatmap(
    lambda message: st.one_of(st.sampled_from(KINDS), JSON).map(
        lambda kind: {"type": kind, **message}
    )
)


@given(st.lists(MESSAGES, max_size=5))
def test_any_messages_can_be_read(messages: list[Json]) -> None:
    """Or raise ``AgentFailed``, and nothing else."""
    try:
        reply = read_messages(messages)
    except AgentFailed:
        return
    assert reply.text == reply.text.strip()


@given(
    st.lists(st.one_of(JSON.map(json.dumps), MESSAGES.map(lambda it: events(it)[0])), max_size=6)
)
def test_any_stream_can_be_read(stream: list[str]) -> None:
    try:
        assert isinstance(read_stream([*stream, *events(END)]).text, str)
    except AgentFailed:
        return


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=8), st.integers(0, 8))
def test_only_chunks_after_the_last_validation_failure_count(
    parts: list[str], position: int
) -> None:
    chunks = [chunk(part) for part in parts]
    chunks.insert(min(position, len(chunks)), INVALID)
    expected = clean("".join(parts[min(position, len(parts)) :])).strip()
    assert read_stream(events(*chunks, END)).text == expected
