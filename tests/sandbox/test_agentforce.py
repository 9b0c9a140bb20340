"""The Agentforce stand-in, called by HTTP."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from sseclient import SSEClient

from sandbox.agentforce.events import StreamStyle
from sandbox.agentforce.helpdesk import DEFAULT_FILE, Helpdesk
from sandbox.agentforce.login import Misconfiguration
from sandbox.agentforce.standin import AgentforceStandIn
from sandbox.call_recorder import CallRecorder
from sandbox.faults import Fault, Faults
from sandbox.latency import INSTANT, LatencyProfile

AGENT = "0XxTEST00000001AAA"
QUESTION = "How do I register an electronic invoice?"
ARABIC = "كيف أسجل فاتورة إلكترونية؟"
LOGIN = {"grant_type": "client_credentials", "client_id": "key", "client_secret": "secret"}
API = "/einstein/ai-agent/v1"


class Provider:
    """A running stand-in, with shortcuts for its calls."""

    def __init__(
        self, *, latency: LatencyProfile = INSTANT, helpdesk: Helpdesk | None = None
    ) -> None:
        self.recorder, self.faults = CallRecorder(), Faults()
        self.standin = AgentforceStandIn(
            recorder=self.recorder,
            faults=self.faults,
            latency=latency,
            consumer_key="key",
            consumer_secret="secret",
            agent_id=AGENT,
            helpdesk=helpdesk or Helpdesk(),
        )
        self.standin.start()
        self.token = ""

    @property
    def rules(self) -> list[str]:
        return [violation.rule for violation in self.recorder.violations]

    def log_in(self, **fields: str) -> requests.Response:
        url = f"{self.standin.url}/services/oauth2/token"
        return requests.post(url, data=LOGIN | fields, timeout=10)

    def fetch_token(self) -> str:
        self.token = str(self.log_in().json()["access_token"])
        return self.token

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        token = options.pop("token", None) or self.token or self.fetch_token()
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        url = f"{self.standin.url}{API}/{path}"
        return requests.request(method, url, **({"timeout": 10} | options), headers=headers)

    def start(self, agent_id: str = AGENT, **changes: Any) -> requests.Response:
        body: dict[str, Any] = {
            "externalSessionKey": "6c1f6a8e",
            "instanceConfig": {"endpoint": self.standin.url},
            "streamingCapabilities": {"chunkTypes": ["Text"]},
            "bypassUser": True,
        }
        given = {key: value for key, value in (body | changes).items() if value is not None}
        return self.call("POST", f"agents/{agent_id}/sessions", json=given)

    def session(self, **changes: Any) -> str:
        return str(self.start(**changes).json()["sessionId"])

    def ask(self, session: str, text: str = QUESTION, number: int = 1, **options: Any) -> Any:
        message = {"type": "Text", "sequenceId": number, "text": text}
        path = f"sessions/{session}/messages"
        return self.call("POST", path, **({"json": {"message": message}} | options))

    def stream(self, session: str, text: str = QUESTION, number: int = 1, **options: Any) -> Any:
        message = {"type": "Text", "sequenceId": number, "text": text}
        return self.call(
            "POST",
            f"sessions/{session}/messages/stream",
            json={"message": message},
            headers={"Accept": "text/event-stream"},
            stream=True,
            **options,
        )

    def events(self, session: str, text: str = QUESTION, number: int = 1) -> list[Any]:
        """The events of a streamed answer, each as (name, id, data)."""
        answer = self.stream(session, text, number)
        return [
            (event.event, event.id, json.loads(event.data)) for event in SSEClient(answer).events()
        ]

    def end(self, session: str, reason: str | None = "UserRequest") -> requests.Response:
        headers = {} if reason is None else {"x-session-end-reason": reason}
        return self.call("DELETE", f"sessions/{session}", headers=headers)

    def fail(self, call: str, **how: Any) -> None:
        self.faults.add(Fault("agentforce", call, **how))


Start = Callable[..., Provider]


@pytest.fixture
def start() -> Iterator[Start]:
    """A function that starts a stand-in with options; all are stopped at the end."""
    with ExitStack() as providers:

        def started(**options: Any) -> Provider:
            provider = Provider(**options)
            providers.callback(provider.standin.stop)
            return provider

        yield started


@pytest.fixture
def provider(start: Start) -> Provider:
    return start()


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


# The token endpoint


def test_a_token_is_a_jwt_with_exp_and_names_the_api_host(provider: Provider) -> None:
    """The answer has the fields of the setup guide, and no expires_in."""
    answer = provider.log_in().json()
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 1800
    assert answer["api_instance_url"] == answer["instance_url"] == provider.standin.url
    assert answer["token_format"] == "jwt"
    assert set(answer["scope"].split()) == {"api", "chatbot_api", "sfap_api"}
    assert "expires_in" not in answer
    assert int(answer["issued_at"]) > 1_600_000_000_000


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"client_id": "other"}, "invalid_client_id"),
        ({"client_secret": "secret\n"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_a_wrong_login_is_refused_in_oauths_format(
    provider: Provider, fields: dict[str, str], error: str
) -> None:
    """Each wrong parameter has its own error code, with status 400."""
    refused = provider.log_in(**fields)
    assert refused.status_code == 400
    assert refused.json()["error"] == error
    assert refused.json()["error_description"]


@pytest.mark.parametrize(
    "misconfiguration", [Misconfiguration.NO_RUN_AS_USER, Misconfiguration.WRONG_DOMAIN]
)
def test_a_misconfigured_app_gets_invalid_grant(
    provider: Provider, misconfiguration: Misconfiguration
) -> None:
    """Without a Run-As user, or on another host than My Domain, the login is an invalid grant."""
    provider.standin.misconfiguration = misconfiguration
    refused = provider.log_in()
    assert refused.status_code == 400
    assert refused.json() == {
        "error": "invalid_grant",
        "error_description": misconfiguration.value,
    }


def test_an_app_without_jwt_gets_an_opaque_token_that_the_api_refuses(provider: Provider) -> None:
    """There is no api_instance_url, and calls get an empty 404."""
    provider.standin.misconfiguration = Misconfiguration.NO_JWT
    answer = provider.log_in().json()
    assert "api_instance_url" not in answer
    path = f"agents/{AGENT}/sessions"
    refused = provider.call("POST", path, token=answer["access_token"], json={})
    assert (refused.status_code, refused.content) == (404, b"")


def test_a_token_per_message_is_a_violation(provider: Provider) -> None:
    """A second token while the first is valid is issued, but is a violation."""
    provider.log_in()
    assert provider.rules == []
    assert provider.log_in().status_code == 200
    assert provider.rules == ["a token was fetched while a valid one exists"]


def test_two_processes_may_each_hold_a_token(provider: Provider) -> None:
    """token_clients is the number of tokens that may be in use."""
    provider.standin.token_clients = 2
    provider.log_in()
    provider.log_in()
    assert provider.rules == []


def test_a_new_token_after_a_401_or_a_lost_answer_is_no_violation(provider: Provider) -> None:
    """A client that was refused, or did not get the token, has to fetch another."""
    provider.fail("token", kind="vanish")
    with pytest.raises(requests.ConnectionError):
        provider.log_in()
    provider.fetch_token()
    provider.fail("token", kind="hang")
    provider.log_in()
    provider.fail("session", status=401)
    assert provider.start().status_code == 401
    provider.fetch_token()
    assert provider.rules == []


def test_a_token_near_its_end_may_be_renewed(provider: Provider) -> None:
    """In its last minute a token may be replaced."""
    provider.standin.token_lifetime = 60
    provider.log_in()
    provider.log_in()
    assert provider.rules == []


# The bearer token


def test_without_a_bearer_the_gateway_answers_an_empty_404(provider: Provider) -> None:
    """A missing token is a violation too."""
    url = f"{provider.standin.url}{API}/agents/{AGENT}/sessions"
    refused = requests.post(url, json={}, timeout=10)
    assert (refused.status_code, refused.content) == (404, b"")
    assert provider.rules == ["no bearer token"]


def test_an_expired_or_forgotten_token_gets_401(provider: Provider) -> None:
    """Both are JWTs, so the gateway accepts them and the API refuses them."""
    provider.standin.token_lifetime = -1
    provider.fetch_token()
    expired = provider.start()
    provider.standin.token_lifetime = 1800
    provider.fetch_token()
    provider.standin.forget_tokens()
    forgotten = provider.start()
    for refused in (expired, forgotten):
        assert refused.status_code == 401
        assert refused.json()["error"] == "UnauthorizedError"
        assert refused.headers["X-Request-ID"] == refused.json()["requestId"]
    assert provider.rules == []


def test_a_user_without_permission_gets_403(provider: Provider) -> None:
    """The token is valid, but its user may not use the agent."""
    provider.standin.misconfiguration = Misconfiguration.FORBIDDEN
    assert provider.start().json()["error"] == "ForbiddenError"


# Sessions


def test_a_session_starts_with_a_greeting_and_links(provider: Provider) -> None:
    """200, a time-ordered UUID, an Inform without feedback id, and both message links."""
    answer = provider.start()
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["x-session-mode"] == "default"
    assert uuid.UUID(body["sessionId"]).version == 7
    assert types(body["messages"]) == ["Inform"]
    assert body["messages"][0]["feedbackId"] == body["messages"][0]["planId"] == ""
    assert body["_links"]["messages"]["href"].endswith(f"{body['sessionId']}/messages")
    assert body["_links"]["messagesStream"]["href"].endswith("/messages/stream")


def test_the_greeting_is_in_the_language_of_the_end_user(provider: Provider) -> None:
    """$Context.EndUserLanguage is set at the start."""
    variable = {"name": "$Context.EndUserLanguage", "type": "Text", "value": "ar"}
    greeting = provider.start(variables=[variable]).json()["messages"][0]["message"]
    assert greeting.startswith("مرحبًا")


def test_every_start_creates_a_session(provider: Provider) -> None:
    """externalSessionKey is for tracing: the same key twice gives two sessions."""
    first, second = provider.session(), provider.session()
    assert first != second
    assert [one.session_id for one in provider.standin.sessions] == [first, second]
    assert {one.external_session_key for one in provider.standin.sessions} == {"6c1f6a8e"}


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"externalSessionKey": None}, 400, "BadRequestError"),
        ({"instanceConfig": None}, 400, "BadRequestError"),
        ({"instanceConfig": {"endpoint": "acme "}}, 400, "BadRequestError"),
        (
            {"instanceConfig": {"endpoint": "https://acme.example.com"}},
            500,
            "EngineConfigLookupException",
        ),
        ({"bypassUser": "true"}, 400, "BadRequestError"),
        ({"streamingCapabilities": {"chunkTypes": ["Audio"]}}, 400, "BadRequestError"),
        (
            {"variables": [{"name": "Tier", "type": "Text", "value": "gold"}]},
            400,
            "InternalVariableMutationAttemptException",
        ),
        ({"agent_id": "Help_Desk"}, 400, "BadRequestError"),
    ],
)
def test_a_wrong_start_is_refused_and_a_violation(
    provider: Provider, changes: dict[str, Any], status: int, error: str
) -> None:
    """Each mistake has the status and error class that the real service gives it."""
    refused = provider.start(**changes)
    assert (refused.status_code, refused.json()["error"]) == (status, error)
    assert len(provider.rules) == 1


def test_an_endpoint_may_end_in_a_slash_and_an_id_may_have_15_characters(
    provider: Provider,
) -> None:
    """The real service accepts both too."""
    endpoint = {"endpoint": f"{provider.standin.url}/"}
    assert provider.start(agent_id=AGENT[:15], instanceConfig=endpoint).status_code == 200


def test_a_body_that_is_not_declared_as_json_gives_500(provider: Provider) -> None:
    """The real service says 500 "Unsupported Media Type", not 415."""
    refused = provider.call("POST", f"agents/{AGENT}/sessions", data="{}")
    assert (refused.status_code, refused.json()["message"]) == (500, "Unsupported Media Type")
    assert provider.rules == ["Content-Type is not application/json"]


def test_an_unknown_agent_is_no_violation(provider: Provider) -> None:
    """A well-formed id of no agent gives 500; it is a mistake in the settings."""
    refused = provider.start(agent_id="0XxOTHER0000001AAA")
    assert (refused.status_code, refused.json()["error"]) == (500, "HttpServerErrorException")
    assert provider.rules == []


def test_an_inactive_agent_gives_422(provider: Provider) -> None:
    """No version of the agent is active."""
    provider.standin.misconfiguration = Misconfiguration.AGENT_INACTIVE
    assert provider.start().status_code == 422


def test_an_employee_agent_refuses_to_bypass_the_user(provider: Provider) -> None:
    """True gives 400; false and absent are accepted."""
    provider.standin.employee_agent = True
    refused = provider.start()
    assert refused.status_code == 400
    message = "Bad Request: Invalid user ID provided on start session: "
    assert refused.json()["message"] == message
    assert provider.start(bypassUser=False).status_code == 200
    assert provider.start(bypassUser=None).status_code == 200
    assert provider.rules == []


# Synchronous messages


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


# Streamed messages


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


# Ends and errors


def test_a_session_is_ended_with_a_reason(provider: Provider) -> None:
    """The answer has another reason, and a second DELETE gives 404."""
    session = provider.session()
    answer = provider.end(session, "Expiration")
    assert answer.status_code == 200
    assert answer.json()["messages"][0]["type"] == "SessionEnded"
    assert answer.json()["messages"][0]["reason"] == "ClientRequest"
    ended = provider.standin.ended[0]
    assert (ended.session_id, ended.reason) == (session, "Expiration")
    assert provider.end(session).status_code == 404
    assert provider.rules == []


@pytest.mark.parametrize("reason", [None, "Bored"])
def test_an_end_without_a_known_reason_is_refused(provider: Provider, reason: str | None) -> None:
    """It gets 400 and is a violation; the session continues."""
    session = provider.session()
    assert provider.end(session, reason).status_code == 400
    assert len(provider.rules) == 1
    assert provider.ask(session).status_code == 200


def test_asking_an_ended_session_is_a_violation(provider: Provider) -> None:
    """The client has ended it itself."""
    session = provider.session()
    provider.end(session)
    assert provider.ask(session).status_code == 404
    assert provider.rules == ["a request to a session that ended: UserRequest"]


def test_feedback_accepts_two_ratings(provider: Provider) -> None:
    """GOOD and BAD give 202 with an empty body, anything else 400."""
    path = f"sessions/{provider.session()}/feedback"
    good = provider.call("POST", path, json={"feedbackId": "f", "feedback": "GOOD"})
    assert (good.status_code, good.content) == (202, b"")
    fair = provider.call("POST", path, json={"feedbackId": "f", "feedback": "FAIR"})
    assert fair.status_code == 400


@pytest.mark.parametrize("status", [400, 403, 410, 422, 423, 429, 500, 502, 503])
def test_injected_errors_have_the_format_of_the_api(provider: Provider, status: int) -> None:
    """The agent is not asked."""
    session = provider.session()
    provider.fail("ask", status=status)
    refused = provider.ask(session)
    assert refused.status_code == refused.json()["status"] == status
    assert refused.headers["X-Request-ID"]
    assert provider.ask(session).status_code == 200
    assert provider.rules == []


@pytest.mark.parametrize("status", [401, 429, 503])
def test_injected_login_errors_have_oauths_format(provider: Provider, status: int) -> None:
    """They have error and error_description only."""
    provider.fail("token", status=status)
    refused = provider.log_in()
    assert refused.status_code == status
    assert refused.json().keys() == {"error", "error_description"}


def test_an_unknown_path_is_an_html_page_and_a_violation(provider: Provider) -> None:
    """Like the answer of My Domain."""
    answer = provider.call("GET", "sessions/history")
    assert answer.status_code == 404
    assert "URL No Longer Exists" in answer.text
    assert len(provider.rules) == 1
