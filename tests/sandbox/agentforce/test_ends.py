"""The ends of sessions, feedback and errors of the Agentforce stand-in."""

from __future__ import annotations

import pytest

from tests.sandbox.agentforce.provider import (
    Provider,
)


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
