"""One token for all threads, fetched from the stand-in for Salesforce."""

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
from http_clients import oauth_token as access_token
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

Keeper = Callable[..., AccessToken]


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
def keeper(provider: AgentforceStandIn) -> Iterator[Keeper]:
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
    """The monotonic time that the token is judged by."""
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time=time.time)
    monkeypatch.setattr(access_token, "time", clock)
    return now


def fetches(provider: AgentforceStandIn) -> int:
    return len(provider.recorder.calls("agentforce", "token"))


def answers(provider: AgentforceStandIn, **answer: Any) -> None:
    """Let the token endpoint answer with 200 and these fields, every time."""
    body = json.dumps({"scope": SCOPE} | answer)
    provider.faults.add(Fault("agentforce", "token", "junk", body=body, times=None))


def token_of(**claims: Any) -> str:
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


def lifetime(token: access_token.Token) -> float:
    return token.fresh_until - time.monotonic()


def test_a_token_is_fetched_once_and_kept(provider: AgentforceStandIn, keeper: Keeper) -> None:
    tokens = keeper()
    assert tokens.get() is tokens.get()
    assert tokens.get().api_url == provider.url
    assert fetches(provider) == 1
    assert not provider.recorder.violations


def test_fifty_threads_wait_for_one_fetch(provider: AgentforceStandIn, keeper: Keeper) -> None:
    tokens = keeper()
    provider.faults.add(Fault("agentforce", "token", "hang", seconds=0.1))
    together = threading.Barrier(50)

    def get(_: int) -> str:
        together.wait(10)
        return tokens.get().value

    with ThreadPoolExecutor(50) as pool:
        assert len(set(pool.map(get, range(50)))) == 1
    assert fetches(provider) == 1


def test_an_endpoint_that_trickles_is_given_up_in_time(
    provider: AgentforceStandIn, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much time the turn has that asks: others wait for the same token."""
    monkeypatch.setattr(access_token, "TOTAL_TIMEOUT", 0.1)
    provider.faults.add(Fault("agentforce", "token", "trickle", seconds=0.02))
    with Deadline(60.0).applied(), pytest.raises(AgentUnavailable):
        keeper().get()


def test_who_waits_for_the_fetch_of_another_does_so_until_its_own_deadline(
    provider: AgentforceStandIn, keeper: Keeper
) -> None:
    tokens = keeper()
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


def test_fifty_threads_all_learn_of_a_failure_and_the_next_tries_again(
    provider: AgentforceStandIn, keeper: Keeper
) -> None:
    tokens = keeper()
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


def test_a_token_is_not_used_to_its_very_end(
    provider: AgentforceStandIn, keeper: Keeper, now: list[float]
) -> None:
    provider.token_lifetime = 600
    tokens = keeper()
    first = tokens.get()
    now[0] += 600 - access_token.EXPIRY_MARGIN - 2
    assert tokens.get() is first
    now[0] += 4
    answers(provider, access_token=token_of(iat=0, exp=600, jti="second"))
    assert tokens.get().value != first.value


@pytest.mark.parametrize(("lifetime", "ahead"), [(1800, RENEWAL_MARGIN), (100, 20)])
def test_the_next_token_is_fetched_in_the_background_before_anybody_needs_it(
    provider: AgentforceStandIn, keeper: Keeper, now: list[float], lifetime: int, ahead: float
) -> None:
    tokens = keeper()
    answers(provider, access_token=token_of(iat=0, exp=lifetime, jti="first"))
    tokens.renew()
    first = tokens.get()
    now[0] += lifetime - ahead - 1
    tokens.renew()
    assert (tokens.get(), fetches(provider)) == (first, 1)
    now[0] += 2
    provider.faults.clear()
    answers(provider, access_token=token_of(iat=0, exp=lifetime, jti="second"))
    tokens.renew()
    assert fetches(provider) == 2
    assert tokens.get().value != first.value
    tokens.renew()
    assert fetches(provider) == 2


def test_nobody_waits_while_the_next_token_is_fetched(
    provider: AgentforceStandIn, keeper: Keeper, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = keeper()
    first = tokens.get()
    now[0] += 1800 - RENEWAL_MARGIN + 1
    let_go = threading.Event()
    fetch = tokens._fetch

    def held() -> access_token.Token:
        assert let_go.wait(10)
        return fetch()

    monkeypatch.setattr(tokens, "_fetch", held)
    renewing = threading.Thread(target=tokens.renew)
    renewing.start()
    try:
        assert tokens.get() is first
    finally:
        let_go.set()
        renewing.join()
    assert tokens.get() is not first


def test_a_renewal_that_fails_is_logged_once_a_minute_and_the_old_token_used_to_its_end(
    provider: AgentforceStandIn, keeper: Keeper, now: list[float]
) -> None:
    provider.token_lifetime = 1800
    tokens = keeper()
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
        ({"access_token": token_of(iat=0, exp=1800)}, 1740),
        ({"access_token": token_of(iat=4e9, exp=4e9 + 7200)}, 7140),
        ({"access_token": token_of(iat=0, exp=100)}, 90),
        ({"access_token": token_of(iat=100, exp=0)}, 0),
        ({"access_token": token_of(sub="no expiry")}, UNKNOWN_LIFETIME - 60),
        ({"access_token": token_of(sub="no expiry"), "expires_in": 7200}, 7140),
        ({"access_token": token_of(exp="soon", iat=0)}, UNKNOWN_LIFETIME - 60),
        ({"access_token": "00Dxx!opaque"}, UNKNOWN_LIFETIME - 60),
        ({"access_token": "00Dxx!opaque", "expires_in": "300"}, 270),
        ({"access_token": "00Dxx!opaque", "expires_in": None}, UNKNOWN_LIFETIME - 60),
        ({"access_token": "00Dxx!opaque", "expires_in": "soon"}, UNKNOWN_LIFETIME - 60),
        ({"access_token": "a.b.c", "issued_at": "1736530186928"}, UNKNOWN_LIFETIME - 60),
    ],
)
def test_a_token_tells_its_lifetime_whatever_our_clock_says(
    provider: AgentforceStandIn, keeper: Keeper, answer: dict[str, Any], seconds: float
) -> None:
    answers(provider, **answer)
    assert lifetime(keeper().get()) == pytest.approx(seconds, abs=30)


def test_a_token_that_does_not_tell_its_age_is_new(
    provider: AgentforceStandIn, keeper: Keeper
) -> None:
    answers(provider, access_token=token_of(exp=time.time() + 1800))
    assert lifetime(keeper().get()) == pytest.approx(1740, abs=30)


@pytest.mark.parametrize(
    ("setting", "answered", "used"),
    [
        ("", {"api_instance_url": "https://api.gov.salesforce.com"},
         "https://api.gov.salesforce.com"),
        ("https://own.example.com", {"api_instance_url": "https://api.gov.salesforce.com"},
         "https://own.example.com"),
        ("", {}, DEFAULT_API_URL),
        ("", {"api_instance_url": None}, DEFAULT_API_URL),
    ],
)  # fmt: skip
def test_the_api_host_is_the_operators_then_salesforces_then_the_usual_one(
    provider: AgentforceStandIn, keeper: Keeper, setting: str, answered: dict[str, Any], used: str
) -> None:
    answers(provider, access_token=token_of(iat=0, exp=1800), **answered)
    assert keeper(AGENTFORCE_API_URL=setting).get().api_url == used


def test_a_dropped_token_is_replaced_once(provider: AgentforceStandIn, keeper: Keeper) -> None:
    """Many threads may be refused with the same token; only the first drops it."""
    provider.token_clients = 2
    tokens = keeper()
    refused = tokens.get()
    tokens.drop(refused)
    renewed = tokens.get()
    assert renewed.value != refused.value
    tokens.drop(refused)
    assert tokens.get() is renewed
    assert fetches(provider) == 2


@pytest.mark.parametrize(
    ("changes", "wrong", "advice"),
    [
        ({"SALESFORCE_CONSUMER_KEY": "x"}, None, "SALESFORCE_CONSUMER_KEY"),
        ({"SALESFORCE_CONSUMER_SECRET": "x"}, None, "SALESFORCE_CONSUMER_SECRET"),
        ({}, Misconfiguration.NO_RUN_AS_USER, "Run-As user"),
        ({}, Misconfiguration.WRONG_DOMAIN, "My Domain"),
    ],
)
def test_an_error_says_what_to_mend(
    provider: AgentforceStandIn,
    keeper: Keeper,
    changes: dict[str, str],
    wrong: Misconfiguration | None,
    advice: str,
) -> None:
    provider.misconfiguration = wrong
    with pytest.raises(AgentMisconfigured, match=advice) as caught:
        keeper(**changes).get()
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
def test_the_other_refusals_of_the_contract(
    provider: AgentforceStandIn, keeper: Keeper, status: int, error: str, advice: str
) -> None:
    body = json.dumps({"error": error, "error_description": "..."})
    provider.faults.add(Fault("agentforce", "token", "status", status=status, body=body))
    with pytest.raises(AgentMisconfigured, match=f"{error}.*{advice}"):
        keeper().get()


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
    provider: AgentforceStandIn, keeper: Keeper, fault: Fault, error: type[AgentError]
) -> None:
    provider.faults.add(fault)
    tokens = keeper()
    with pytest.raises(error) as caught:
        tokens.get()
    assert caught.value.retryable == (error is AgentUnavailable)
    assert SECRET not in str(caught.value)
    assert tokens.get().value


def test_a_refused_connection_is_an_agent_error(keeper: Keeper) -> None:
    with pytest.raises(AgentUnavailable):
        keeper(SALESFORCE_INSTANCE_URL="http://127.0.0.1:1").get()


def test_retry_after_is_passed_on(provider: AgentforceStandIn, keeper: Keeper) -> None:
    headers = {"Retry-After": "7"}
    provider.faults.add(Fault("agentforce", "token", "status", status=429, headers=headers))
    with pytest.raises(AgentUnavailable) as caught:
        keeper().get()
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("scope", "missing"),
    [("api", "chatbot_api sfap_api"), ("", "api chatbot_api sfap_api"), (SCOPE, None)],
)
def test_missing_scopes_are_logged(
    provider: AgentforceStandIn,
    keeper: Keeper,
    monkeypatch: pytest.MonkeyPatch,
    scope: str,
    missing: str | None,
) -> None:
    """Agentforce would refuse the token with an empty 404."""
    logged: list[Any] = []
    recorder = SimpleNamespace(warning=lambda event, **values: logged.append(values["missing"]))
    monkeypatch.setattr(access_token, "log", recorder)
    answers(provider, access_token=token_of(iat=0, exp=1800), scope=scope)
    keeper().get()
    assert logged == ([] if missing is None else [missing])
