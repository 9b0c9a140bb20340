"""The sessions of the Agentforce stand-in."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from sandbox.agentforce.login import Misconfiguration
from tests.sandbox.agentforce.provider import (
    AGENT,
    Provider,
    types,
)


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
