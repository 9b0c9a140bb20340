"""The token endpoint of the Agentforce stand-in, and its tokens."""

from __future__ import annotations

import jwt
import pytest
import requests

from sandbox.agentforce.login import Misconfiguration
from tests.sandbox.agentforce.provider import (
    AGENT,
    API,
    Provider,
)


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
