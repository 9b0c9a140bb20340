"""Salesforce's client-credentials token, one for all threads.

docs/providers/agentforce.md, "Token".
"""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import jwt
import requests
import structlog

from core.deadline import Deadline, remaining_time
from core.error_codes import codes
from core.errors import AgentError, AgentMisconfigured, AgentUnavailable, DeadlineExceeded
from core.settings import Settings
from http_clients.bodies import json_object, read_chunks
from http_clients.retries import parse_retry_after
from http_clients.routes import Route
from metrics import Metrics

log = structlog.get_logger(__name__)

READ_TIMEOUT = 10.0
TOTAL_TIMEOUT = 20.0

# Not used this long before the end, so that no request starts with a token about to expire.
EXPIRY_MARGIN = 60.0
# Renewed in the background this long before the end, so that no turn waits for that.
RENEWAL_MARGIN = 300.0
COMPLAINT_SECONDS = 60.0
# Where the token does not tell its lifetime; the shortest that Salesforce sets up is 30 minutes.
UNKNOWN_LIFETIME = 20 * 60.0
DEFAULT_API_URL = "https://api.salesforce.com"
SCOPES = frozenset({"api", "chatbot_api", "sfap_api"})

# What to mend, by the error (docs/providers/agentforce.md, "Token errors").
_ADVICE = {
    "invalid_client_id": "check SALESFORCE_CONSUMER_KEY; a new app takes up to 10 minutes to work",
    "invalid_client": "check SALESFORCE_CONSUMER_SECRET",
    "unsupported_grant_type": "switch on the Client Credentials Flow in the External Client App",
    "invalid_app_access": "let the Run-As user use the External Client App (its policies)",
    "invalid_grant": (
        "set a Run-As user in the External Client App, and let SALESFORCE_INSTANCE_URL be your "
        "My Domain, like https://acme.my.salesforce.com"
    ),
}


@dataclass(frozen=True)
class Token:
    """A bearer token and the host it is good for.

    ``fresh_until`` is how long it may be used, ``due_at`` when the next one should be fetched
    (monotonic seconds).
    """

    value: str
    api_url: str
    fresh_until: float
    due_at: float

    @property
    def fresh(self) -> bool:
        return time.monotonic() < self.fresh_until

    @property
    def due(self) -> bool:
        return time.monotonic() >= self.due_at


class AccessToken:
    """Keeps the current token; however many threads wait, one fetches, and only once."""

    def __init__(self, *, session: requests.Session, settings: Settings, metrics: Metrics) -> None:
        self._session = session
        self._metrics = metrics
        self._address = f"{settings.SALESFORCE_INSTANCE_URL}/services/oauth2/token"
        self._api_url = settings.AGENTFORCE_API_URL
        self._patience = settings.CLOUD_PATIENCE
        self._form = {
            "grant_type": "client_credentials",
            "client_id": settings.SALESFORCE_CONSUMER_KEY,
            "client_secret": settings.SALESFORCE_CONSUMER_SECRET,
        }
        self._lock = threading.Lock()
        self._current: Token | None = None
        self._pending: Future[Token] | None = None
        self._complained_at = -math.inf

    def route(self) -> Route:
        """One connection to My Domain: one thread fetches at a time."""
        return Route(self._session, self._address, number=1)

    def get(self) -> Token:
        """A fresh token. Raises ``AgentUnavailable`` or ``AgentMisconfigured``.

        Whoever waits for one that another thread fetches waits until its own deadline, and then
        raises ``DeadlineExceeded``.
        """
        with self._lock:
            if self._current is not None and self._current.fresh:
                return self._current
            pending = self._pending
            if mine := pending is None:
                pending = self._pending = Future()
        if mine:
            self._settle(pending)
            return pending.result()
        try:
            return pending.result(remaining_time())
        except TimeoutError:
            raise DeadlineExceeded("no token in time") from None

    def renew(self) -> None:
        """Fetch the first token, or the next one if the current is about to end.

        For a background thread: others use the current one meanwhile. Failing is logged, once a
        minute at most; whoever calls this tries again.
        """
        with self._lock:
            if self._pending or (self._current and not self._current.due):
                return
            pending = self._pending = Future()
        self._settle(pending)
        if isinstance(error := pending.exception(), AgentError):
            self._complain(error)

    def drop(self, token: Token) -> None:
        """Forget a token that was refused, unless another thread has replaced it already."""
        with self._lock:
            if self._current == token:
                self._current = None

    def _settle(self, pending: Future[Token]) -> None:
        try:
            # Many wait for it, each with a deadline of its own.
            with Deadline(TOTAL_TIMEOUT * self._patience).applied():
                token = self._fetch()
        except BaseException as error:
            with self._lock:
                self._pending = None
            pending.set_exception(error)
            return
        with self._lock:
            self._current, self._pending = token, None
        pending.set_result(token)

    def _complain(self, error: AgentError) -> None:
        if time.monotonic() - self._complained_at >= COMPLAINT_SECONDS:
            self._complained_at = time.monotonic()
            log.warning("Salesforce token not renewed", error=str(error))

    def _fetch(self) -> Token:
        timeout = READ_TIMEOUT * self._patience
        try:
            response = self._session.post(
                self._address,
                data=self._form,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            )
            with response:
                answer = json_object(b"".join(read_chunks(response, timeout)))
        except (requests.RequestException, DeadlineExceeded) as error:
            raise AgentUnavailable(f"no token: {type(error).__name__}") from error
        if response.status_code == 429 or response.status_code >= 500:
            raise AgentUnavailable(
                f"no token: HTTP {response.status_code}",
                retry_after=parse_retry_after(response.headers.get("Retry-After")),
            )
        if response.status_code != 200:
            raise AgentMisconfigured(_advice(response.status_code, answer))
        if not isinstance(answer.get("access_token"), str):
            raise AgentUnavailable("the token endpoint answered with something else than a token")
        self._metrics.count("tokens_fetched")
        return self._token(answer)

    def _token(self, answer: dict[str, Any]) -> Token:
        missing = SCOPES - set(str(answer.get("scope", "")).split())
        if missing:
            log.warning(
                "The Salesforce app lacks scopes; Agentforce will refuse its token",
                missing=" ".join(sorted(missing)),
            )
        lifetime = _lifetime(answer)
        expires = time.monotonic() + lifetime
        return Token(
            value=answer["access_token"],
            api_url=self._api_url or answer.get("api_instance_url") or DEFAULT_API_URL,
            fresh_until=expires - min(EXPIRY_MARGIN, lifetime / 10),
            due_at=expires - min(RENEWAL_MARGIN, lifetime / 5),
        )


def _lifetime(answer: dict[str, Any]) -> float:
    """Seconds the token lives, from its own claims, so that our clock need not be right."""
    try:
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    except jwt.InvalidTokenError:
        claims = {}
    expiry, issued = _number(claims.get("exp")), _number(claims.get("iat", time.time()))
    if expiry is not None and issued is not None:
        return max(expiry - issued, 0.0)
    seconds = _number(answer.get("expires_in"))
    return UNKNOWN_LIFETIME if seconds is None else seconds


def _number(value: object) -> float | None:
    """A number that time can be counted by, if it is one."""
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _advice(status: int, answer: dict[str, Any]) -> str:
    error = next(iter(codes(answer.get("error"))), f"HTTP {status}")
    advice = _ADVICE.get(error, "check the External Client App in Salesforce Setup")
    return f"Salesforce gives no token ({error}): {advice}"
