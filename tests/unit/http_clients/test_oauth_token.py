"""One token for all threads, fetched from the stand-in of Salesforce."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
import requests
from structlog.testing import capture_logs

from core.deadline import Deadline
from core.errors import AgentError, AgentMisconfigured, AgentUnavailable, DeadlineExceeded
from core.settings import Settings
from http_clients import oauth_token
from http_clients.oauth_token import DEFAULT_API_URL, RENEWAL_MARGIN, UNKNOWN_LIFETIME, AccessToken
from metrics import Metrics
from sandbox.agentforce.helpdesk import Helpdesk
from sandbox.agentforce.login import Misconfiguration
from sandbox.agentforce.standin import AgentforceStandIn
from sandbox.call_recorder import CallRecorder
from sandbox.faults import Fault, Faults
from sandbox.latency import INSTANT

KEY, SECRET = "consumer-key", "consumer-secret"
SCOPE = "sfap_api chatbot_api api"

BuildToken = Callable[..., AccessToken]


@pytest.fixture(scope="module")
def started() -> Iterator[AgentforceStandIn]:
    standin = AgentforceStandIn(
        recorder=CallRecorder(),
        faults=Faults(),
        latency=INSTANT,
        consumer_key=KEY,
        consumer_secret=SECRET,
        agent_id="0XxTEST00000001AAA",
        helpdesk=Helpdesk(),
    )
    standin.start()
    yield standin
    standin.stop()


@pytest.fixture
def provider(started: AgentforceStandIn) -> AgentforceStandIn:
    started.recorder.clear()
    started.faults.clear()
    started.forget_tokens()
    started.misconfiguration = None
    started.token_lifetime = 1800.0
    return started


@pytest.fixture
def build_token(provider: AgentforceStandIn) -> Iterator[BuildToken]:
    with requests.Session() as session:
        session.trust_env = False

        def build(**changes: str) -> AccessToken:
            fields = {
                "SALESFORCE_INSTANCE_URL": provider.url,
                "SALESFORCE_CONSUMER_KEY": KEY,
                "SALESFORCE_CONSUMER_SECRET": SECRET,
                "AGENTFORCE_API_URL": "",
            }
            settings = Settings.model_construct(**(fields | changes))  # type: ignore[arg-type]
            return AccessToken(session=session, settings=settings, metrics=Metrics())

        yield build


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time by which tokens expire; a test may change it."""
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time=time.time)
    monkeypatch.setattr(oauth_token, "time", clock)
    return now


def fetches(provider: AgentforceStandIn) -> int:
    return len(provider.recorder.calls("agentforce", "token"))


def answer_with(provider: AgentforceStandIn, **answer: Any) -> None:
    """Let the token endpoint always answer with 200 and these fields."""
    body = json.dumps({"scope": SCOPE} | answer)
    provider.faults.add(Fault("agentforce", "token", "junk", body=body, times=None))


def build_jwt(**claims: Any) -> str:
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


def lifetime(token: oauth_token.Token) -> float:
    return token.fresh_until - time.monotonic()


def test_a_token_is_fetched_once_and_cached(
    provider: AgentforceStandIn, build_token: BuildToken
) -> None:
    tokens = build_token()
    assert tokens.get() is tokens.get()
    assert tokens.get().api_url == provider.url
    assert fetches(provider) == 1
    assert not provider.recorder.violations


def test_fifty_threads_wait_for_one_fetch(
    provider: AgentforceStandIn, build_token: BuildToken
) -> None:
    tokens = build_token()
    provider.faults.add(Fault("agentforce", "token", "hang", seconds=0.1))
    together = threading.Barrier(50)

    def get(_: int) -> str:
        together.wait(10)
        return tokens.get().value

    with ThreadPoolExecutor(50) as pool:
        assert len(set(pool.map(get, range(50)))) == 1
    assert fetches(provider) == 1


def test_an_endpoint_that_trickles_is_abandoned_in_time(
    provider: AgentforceStandIn, build_token: BuildToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the deadline of the turn that fetches, because others wait for the same token."""
    monkeypatch.setattr(oauth_token, "TOTAL_TIMEOUT", 0.1)
    provider.faults.add(Fault("agentforce", "token", "trickle", seconds=0.02))
    with Deadline(60.0).applied(), pytest.raises(AgentUnavailable):
        build_token().get()


def test_waiting_for_the_fetch_of_another_thread_ends_at_the_own_deadline(
    provider: AgentforceStandIn, build_token: BuildToken
) -> None:
    tokens = build_token()
    provider.faults.add(Fault("agentforce", "token", "hang", seconds=60))
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(tokens.get)
        provider.recorder.wait_for(lambda: fetches(provider))
        with Deadline(0.05).applied(), pytest.raises(DeadlineExceeded):
            tokens.get()
        assert not patient.done()
        provider.faults.clear()
        assert patient.result(30) is tokens.get()
    assert fetches(provider) == 1


def test_fifty_threads_get_the_error_of_a_fetch_and_the_next_call_tries_again(
    provider: AgentforceStandIn, build_token: BuildToken
) -> None:
    tokens = build_token()
    provider.faults.add(Fault("agentforce", "token", "status", status=503, times=None))

    def get(_: int) -> BaseException | None:
        try:
            tokens.get()
        except AgentUnavailable as error:
            return error
        return None

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(get, range(50)))
    provider.faults.clear()
    assert tokens.get().value


def test_a_token_is_not_used_until_its_very_end(
    provider: AgentforceStandIn, build_token: BuildToken, now: list[float]
) -> None:
    provider.token_lifetime = 600
    tokens = build_token()
    first = tokens.get()
    now[0] += 600 - oauth_token.EXPIRY_MARGIN - 2
    assert tokens.get() is first
    now[0] += 4
    answer_with(provider, access_token=build_jwt(iat=0, exp=600, jti="second"))
    assert tokens.get().value != first.value


@pytest.mark.parametrize(("lifetime", "ahead"), [(1800, RENEWAL_MARGIN), (100, 20)])
def test_the_next_token_is_fetched_in_the_background_before_the_current_expires(
    provider: AgentforceStandIn,
    build_token: BuildToken,
    now: list[float],
    lifetime: int,
    ahead: float,
) -> None:
    tokens = build_token()
    answer_with(provider, access_token=build_jwt(iat=0, exp=lifetime, jti="first"))
    tokens.renew()
    first = tokens.get()
    now[0] += lifetime - ahead - 1
    tokens.renew()
    assert (tokens.get(), fetches(provider)) == (first, 1)
    now[0] += 2
    provider.faults.clear()
    answer_with(provider, access_token=build_jwt(iat=0, exp=lifetime, jti="second"))
    tokens.renew()
    assert fetches(provider) == 2
    assert tokens.get().value != first.value
    tokens.renew()
    assert fetches(provider) == 2


def test_no_thread_waits_while_the_next_token_is_fetched(
    provider: AgentforceStandIn,
    build_token: BuildToken,
    now: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = build_token()
    first = tokens.get()
    now[0] += 1800 - RENEWAL_MARGIN + 1
    released = threading.Event()
    fetch = tokens._fetch

    def delayed_fetch() -> oauth_token.Token:
        assert released.wait(10)
        return fetch()

    monkeypatch.setattr(tokens, "_fetch", delayed_fetch)
    renewing = threading.Thread(target=tokens.renew)
    renewing.start()
    try:
        assert tokens.get() is first
    finally:
        released.set()
        renewing.join()
    assert tokens.get() is not first


def test_a_failed_renewal_is_logged_once_a_minute_and_the_old_token_is_still_used(
    provider: AgentforceStandIn, build_token: BuildToken, now: list[float]
) -> None:
    provider.token_lifetime = 1800
    tokens = build_token()
    first = tokens.get()
    now[0] += 1800 - RENEWAL_MARGIN + 1
    provider.faults.add(Fault("agentforce", "token", "status", status=503, times=None))
    with capture_logs() as lines:
        for _ in range(13):
            tokens.renew()
            assert tokens.get() is first
            now[0] += 10
    assert [line["error"] for line in lines] == ["no token: HTTP 503"] * 3
    provider.faults.clear()
    tokens.renew()
    assert tokens.get() is not first


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ({"access_token": build_jwt(iat=0, exp=1800)}, 1740),
        ({"access_token": build_jwt(iat=4e9, exp=4e9 + 7200)}, 7140),
        ({"access_token": build_jwt(iat=0, exp=100)}, 90),
        ({"access_token": build_jwt(iat=100, exp=0)}, 0),
        ({"access_token": build_jwt(sub="no expiry")}, UNKNOWN_LIFETIME - 60),
        ({"access_token": build_jwt(sub="no expiry"), "expires_in": 7200}, 7140),
        ({"access_token": build_jwt(exp="soon", iat=0)}, UNKNOWN_LIFETIME - 60),
        ({"access_token": "00Dxx!opaque"}, UNKNOWN_LIFETIME - 60),
        ({"access_token": "00Dxx!opaque", "expires_in": "300"}, 270),
        ({"access_token": "00Dxx!opaque", "expires_in": None}, UNKNOWN_LIFETIME - 60),
        ({"access_token": "00Dxx!opaque", "expires_in": "soon"}, UNKNOWN_LIFETIME - 60),
        ({"access_token": "a.b.c", "issued_at": "1736530186928"}, UNKNOWN_LIFETIME - 60),
    ],
)
def test_the_lifetime_of_a_token_does_not_depend_on_our_clock(
    provider: AgentforceStandIn, build_token: BuildToken, answer: dict[str, Any], seconds: float
) -> None:
    answer_with(provider, **answer)
    assert lifetime(build_token().get()) == pytest.approx(seconds, abs=30)


def test_a_token_without_an_issue_time_counts_as_new(
    provider: AgentforceStandIn, build_token: BuildToken
) -> None:
    answer_with(provider, access_token=build_jwt(exp=time.time() + 1800))
    assert lifetime(build_token().get()) == pytest.approx(1740, abs=30)


@pytest.mark.parametrize(
    ("setting", "answer", "expected"),
    [
        ("", {"api_instance_url": "https://api.gov.salesforce.com"},
         "https://api.gov.salesforce.com"),
        ("https://own.example.com", {"api_instance_url": "https://api.gov.salesforce.com"},
         "https://own.example.com"),
        ("", {}, DEFAULT_API_URL),
        ("", {"api_instance_url": None}, DEFAULT_API_URL),
    ],
)  # fmt: skip
def test_the_api_host_is_the_setting_then_the_one_in_the_response_then_the_default(
    provider: AgentforceStandIn,
    build_token: BuildToken,
    setting: str,
    answer: dict[str, Any],
    expected: str,
) -> None:
    answer_with(provider, access_token=build_jwt(iat=0, exp=1800), **answer)
    assert build_token(AGENTFORCE_API_URL=setting).get().api_url == expected


def test_a_dropped_token_is_replaced_once(
    provider: AgentforceStandIn, build_token: BuildToken
) -> None:
    """Many threads may be refused with one token; only the first of them drops it."""
    provider.token_clients = 2
    tokens = build_token()
    refused = tokens.get()
    tokens.drop(refused)
    renewed = tokens.get()
    assert renewed.value != refused.value
    tokens.drop(refused)
    assert tokens.get() is renewed
    assert fetches(provider) == 2


@pytest.mark.parametrize(
    ("changes", "misconfiguration", "advice"),
    [
        ({"SALESFORCE_CONSUMER_KEY": "x"}, None, "SALESFORCE_CONSUMER_KEY"),
        ({"SALESFORCE_CONSUMER_SECRET": "x"}, None, "SALESFORCE_CONSUMER_SECRET"),
        ({}, Misconfiguration.NO_RUN_AS_USER, "Run-As user"),
        ({}, Misconfiguration.WRONG_DOMAIN, "My Domain"),
    ],
)
def test_a_refusal_says_what_to_fix(
    provider: AgentforceStandIn,
    build_token: BuildToken,
    changes: dict[str, str],
    misconfiguration: Misconfiguration | None,
    advice: str,
) -> None:
    provider.misconfiguration = misconfiguration
    with pytest.raises(AgentMisconfigured, match=advice) as caught:
        build_token(**changes).get()
    assert not caught.value.retryable
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("unsupported_grant_type", "Client Credentials Flow"),
        ("invalid_app_access", "policies"),
        ("something_new", "External Client App"),
    ],
)
def test_other_refusals_say_what_to_fix(
    provider: AgentforceStandIn, build_token: BuildToken, status: int, error: str, advice: str
) -> None:
    body = json.dumps({"error": error, "error_description": "..."})
    provider.faults.add(Fault("agentforce", "token", "status", status=status, body=body))
    with pytest.raises(AgentMisconfigured, match=f"{error}.*{advice}"):
        build_token().get()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("agentforce", "token", "status", status=500), AgentUnavailable),
        (Fault("agentforce", "token", "status", status=429), AgentUnavailable),
        (Fault("agentforce", "token", "reset"), AgentUnavailable),
        (Fault("agentforce", "token", "cut"), AgentUnavailable),
        (Fault("agentforce", "token", "junk"), AgentUnavailable),
        (Fault("agentforce", "token", "junk", body="[]"), AgentUnavailable),
        (Fault("agentforce", "token", "junk", body='{"access_token": 1}'), AgentUnavailable),
        (Fault("agentforce", "token", "status", status=403, body="<html>"), AgentMisconfigured),
        (Fault("agentforce", "token", "status", status=404, body="[]"), AgentMisconfigured),
    ],
    ids=lambda value: f"{value.kind}-{value.status}-{value.body}" if hasattr(value, "kind") else "",
)
def test_every_failure_is_an_agent_error(
    provider: AgentforceStandIn, build_token: BuildToken, fault: Fault, error: type[AgentError]
) -> None:
    provider.faults.add(fault)
    tokens = build_token()
    with pytest.raises(error) as caught:
        tokens.get()
    assert caught.value.retryable == (error is AgentUnavailable)
    assert SECRET not in str(caught.value)
    assert tokens.get().value


def test_a_refused_connection_is_an_agent_error(build_token: BuildToken) -> None:
    with pytest.raises(AgentUnavailable):
        build_token(SALESFORCE_INSTANCE_URL="http://127.0.0.1:1").get()


def test_retry_after_is_passed_on(provider: AgentforceStandIn, build_token: BuildToken) -> None:
    headers = {"Retry-After": "7"}
    provider.faults.add(Fault("agentforce", "token", "status", status=429, headers=headers))
    with pytest.raises(AgentUnavailable) as caught:
        build_token().get()
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("scope", "missing"),
    [("api", "chatbot_api sfap_api"), ("", "api chatbot_api sfap_api"), (SCOPE, None)],
)
def test_missing_scopes_are_logged(
    provider: AgentforceStandIn,
    build_token: BuildToken,
    monkeypatch: pytest.MonkeyPatch,
    scope: str,
    missing: str | None,
) -> None:
    """Agentforce will refuse the token with an empty 404, which names no scope."""
    logged: list[Any] = []
    recorder = SimpleNamespace(warning=lambda event, **values: logged.append(values["missing"]))
    monkeypatch.setattr(oauth_token, "log", recorder)
    answer_with(provider, access_token=build_jwt(iat=0, exp=1800), scope=scope)
    build_token().get()
    assert logged == ([] if missing is None else [missing])
