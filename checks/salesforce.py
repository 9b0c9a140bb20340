"""Salesforce: the token of the app, and a session with the agent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import requests

from agentforce import Agentforce
from checks.report import Check, hint_for
from core.deadline import Deadline
from core.errors import AgentError, AgentUnavailable, DeadlineExceeded
from core.models import CheckResult
from core.settings import WHERE, Settings
from http_clients.circuit_breakers import CircuitBreakers
from http_clients.oauth_token import AccessToken, Token
from metrics import Metrics

TOKEN = Check("salesforce_token", "Salesforce token")
JWT = Check("salesforce_jwt", "Kind of token")
SCOPES = Check("salesforce_scopes", "Scopes of the app")
DOMAIN = Check("salesforce_domain", "My Domain")
SESSION = Check("agentforce_session", "Session with the agent")

STATUS_PAGE = "status.salesforce.com"
_APP = "Setup > External Client App Manager > your app"
_ACTIVATE = "activate the agent: Setup > Agentforce Agents > the agent > Activate"
# What the scopes are called in Setup.
SCOPE_NAMES = {
    "api": "Manage user data via APIs (api)",
    "chatbot_api": "Access chatbot services (chatbot_api)",
    "sfap_api": "Access the Salesforce API Platform (sfap_api)",
}
# By words of the errors in docs/providers/agentforce.md, "Errors and what they mean".
SESSION_HINTS = {
    "is not a valid agent ID": f"look at AGENTFORCE_AGENT_ID: {WHERE['AGENTFORCE_AGENT_ID']}",
    "not attached": "attach the app to the agent: the agent > Connections > API > Add",
    "EngineConfigLookupException": "SALESFORCE_INSTANCE_URL must be the org's own My Domain",
    "Bad force-config endpoint": "SALESFORCE_INSTANCE_URL must be the org's own My Domain",
    "No valid version available": _ACTIVATE,
    "Cannot determine the active version": _ACTIVATE,
    "InactiveConfigException": _ACTIVATE,
    "Config is not active": _ACTIVATE,
    "UNKNOWN_EXCEPTION": (
        f"there may be no agent with this AGENTFORCE_AGENT_ID: {WHERE['AGENTFORCE_AGENT_ID']}; "
        "agents of the type Agentforce (Default) cannot be used"
    ),
    "No access to Einstein Copilot": "give the Run-As user the permission set for Agentforce",
    "forbidden": "give the Run-As user access to the agent, and “API Enabled”",
    "Invalid user ID": "give the agent a user: the agent > Settings > Agent User",
    "HTTP 429": "try again in a minute: Agentforce's limits are met",
}
# A refusal for now, such as of a rate limit, is tried again for this time.
SESSION_SECONDS = 20.0


class SessionTrial:
    """Starts a session with the agent, and ends it."""

    def __init__(
        self, settings: Settings, *, session: requests.Session, token: AccessToken
    ) -> None:
        self._seconds = SESSION_SECONDS * settings.PROVIDER_TIMEOUT_FACTOR
        # With metrics and breakers of its own: a failed check is no failed turn.
        metrics = Metrics()
        self._agent = Agentforce(
            session=session,
            token=token,
            metrics=metrics,
            settings=settings,
            breakers=CircuitBreakers(failures=0, seconds=1, metrics=metrics),
            background=ThreadPoolExecutor(1),
        )

    def __call__(self) -> float:
        """The seconds that the start took. Raises ``AgentError`` or ``DeadlineExceeded``."""
        begin = time.monotonic()
        with Deadline(self._seconds).applied():
            session = self._agent.start(retry=False)
        seconds = time.monotonic() - begin
        self._agent.end(session, "Other")
        return seconds


class Salesforce:
    """``try_session`` returns the seconds that the start of a session took.

    It returns ``None`` if none is started, and raises if the start failed.
    """

    def __init__(
        self, settings: Settings, *, token: AccessToken, try_session: Callable[[], float | None]
    ) -> None:
        self._domain = settings.SALESFORCE_INSTANCE_URL
        self._token = token
        self._try_session = try_session

    def check(self) -> Iterator[CheckResult]:
        try:
            token = self._token.get()
        except AgentError as error:
            yield TOKEN.fail(error.reason, _token_hint(error))
            yield from (each.skip("there is no token") for each in (JWT, SCOPES, DOMAIN, SESSION))
            return
        yield TOKEN.ok("the app gives one")
        yield self._check_kind(token)
        yield self._check_scopes(token)
        yield self._check_domain(token)
        yield self._check_session(token)

    def _check_kind(self, token: Token) -> CheckResult:
        if token.is_jwt:
            return JWT.ok("a JWT, as the Agent API demands")
        return JWT.fail(
            "is no JWT, and the Agent API takes no other",
            f"switch on “Issue JSON Web Token (JWT)-based access tokens for named users”: {_APP} > "
            "Settings > OAuth Settings",
        )

    def _check_scopes(self, token: Token) -> CheckResult:
        missing = [SCOPE_NAMES[scope] for scope in sorted(token.missing_scopes)]
        if not missing:
            return SCOPES.ok(" ".join(SCOPE_NAMES))
        hint = f"select them and wait ten minutes: {_APP} > Settings > OAuth Settings"
        return SCOPES.fail(f"without {', '.join(missing)}", hint)

    def _check_domain(self, token: Token) -> CheckResult:
        own, named = (urlsplit(url).hostname for url in (self._domain, token.instance_url))
        if named in (None, own):
            return DOMAIN.ok(f"{own}")
        return DOMAIN.fail(
            f"Salesforce calls the org {named}", f"set SALESFORCE_INSTANCE_URL to https://{named}"
        )

    def _check_session(self, token: Token) -> CheckResult:
        if not token.is_jwt:
            return SESSION.skip("the Agent API does not take the token")
        try:
            seconds = self._try_session()
        except (AgentError, DeadlineExceeded) as error:
            return SESSION.fail(error.reason, hint_for(error, SESSION_HINTS, STATUS_PAGE))
        if seconds is None:
            return SESSION.skip("not started here, for it may be counted")
        return SESSION.ok(f"started in {seconds:.1f} s")


def _token_hint(error: AgentError) -> str:
    if isinstance(error, AgentUnavailable):
        where = WHERE["SALESFORCE_INSTANCE_URL"]
        return f"is SALESFORCE_INSTANCE_URL your My Domain ({where})? If so, see {STATUS_PAGE}"
    return hint_for(error, {}, STATUS_PAGE)
