"""The OAuth token for Agentforce, by the client-credentials flow; one for all threads.

docs/providers/agentforce.md, "Token".
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import jwt
import requests
import structlog

from core.deadline import Deadline, remaining_time
from core.error_codes import codes
from core.errors import AgentError, AgentUnavailable, DeadlineExceeded, LoginRefused
from core.settings import Settings
from http_clients.bodies import json_object, read_chunks
from http_clients.retries import parse_retry_after
from http_clients.routes import Route
from metrics import Metrics

T = TypeVar("T")

log = structlog.get_logger(__name__)

# All in seconds.
READ_TIMEOUT = 10.0
TOTAL_TIMEOUT = 20.0
# A token is not used for this long before it expires, so that it cannot expire during a request.
EXPIRY_MARGIN = 60.0
# The next token is fetched in the background this long before the current one expires, so that no
# turn waits for a token.
RENEWAL_MARGIN = 300.0
# The time between two log lines about renewals that fail.
LOG_INTERVAL = 60.0
# Assumed if the response does not tell the lifetime. Salesforce lets an org set 30 minutes or more.
UNKNOWN_LIFETIME = 20 * 60.0

DEFAULT_API_URL = "https://api.salesforce.com"
SCOPES = frozenset({"api", "chatbot_api", "sfap_api"})

# Advice for the operator, by the error code (docs/providers/agentforce.md, "Token errors").
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
# The same by words of the description, which tell more than the code.
_ADVICE_BY_WORDS = {
    "no client credentials user enabled": (
        "set a Run-As user under Client Credentials Flow in the External Client App's policies"
    ),
    "not supported on this domain": (
        "let SALESFORCE_INSTANCE_URL be your My Domain (Setup > My Domain), like "
        "https://acme.my.salesforce.com"
    ),
    "approved this consumer": "let the Run-As user use the External Client App (its policies)",
    "login rate exceeded": "wait an hour: the Run-As user has logged in too often",
    "Maximum Logins Exceeded": (
        "wait an hour, and let the Run-As user be another one than the agent's own user"
    ),
}


class TokenRefused(AgentError):
    """Agentforce does not accept the token (any more)."""


@dataclass(frozen=True)
class Token:
    """A bearer token and the host that accepts it; times are monotonic seconds."""

    value: str
    api_url: str
    # Until when the token may be used.
    fresh_until: float
    # From when on the next one should be fetched.
    due_at: float
    scopes: frozenset[str] = frozenset()
    # The My Domain that Salesforce names, if it does.
    instance_url: str = ""

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() < self.fresh_until

    @property
    def is_jwt(self) -> bool:
        """Whether the Agent API can accept it; it ignores opaque tokens."""
        return self.value.count(".") == 2 and "!" not in self.value

    @property
    def missing_scopes(self) -> frozenset[str]:
        return SCOPES - self.scopes

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self.due_at


class AccessToken:
    """Caches the current token. However many threads need one, only one thread fetches it."""

    def __init__(self, *, session: requests.Session, settings: Settings, metrics: Metrics) -> None:
        self._session = session
        self._metrics = metrics
        self._url = f"{settings.SALESFORCE_INSTANCE_URL}/services/oauth2/token"
        self._api_url = settings.AGENTFORCE_API_URL
        self._timeout_factor = settings.PROVIDER_TIMEOUT_FACTOR
        self._form = {
            "grant_type": "client_credentials",
            "client_id": settings.SALESFORCE_CONSUMER_KEY,
            "client_secret": settings.SALESFORCE_CONSUMER_SECRET,
        }
        self._lock = threading.Lock()
        self._current: Token | None = None
        # Set while a thread fetches a token; the other threads wait for it.
        self._pending: Future[Token] | None = None
        self._logged_at = -math.inf

    def route(self) -> Route:
        """The route to My Domain; one thread fetches at a time, so one connection is enough."""
        return Route(self._session, self._url, number=1)

    def get(self) -> Token:
        """A fresh token. Raises ``AgentUnavailable`` or ``LoginRefused``.

        Raises ``DeadlineExceeded`` if another thread is fetching and the caller's deadline ends
        before that.
        """
        with self._lock:
            if self._current is not None and self._current.is_fresh:
                return self._current
            pending = self._pending
            if fetches := pending is None:
                pending = self._pending = Future()
        if fetches:
            self._fetch_into(pending)
            return pending.result()
        try:
            return pending.result(remaining_time())
        except TimeoutError:
            raise DeadlineExceeded("no token in time") from None

    def call(self, request: Callable[[Token], T]) -> T:
        """Make a request with the current token; if it raises ``TokenRefused``, with a new one.

        Raises ``LoginRefused`` if the new token is refused too.
        """
        token = self.get()
        try:
            return request(token)
        except TokenRefused:
            self.drop(token)
        try:
            return request(self.get())
        except TokenRefused as error:
            raise LoginRefused(
                "Agentforce refuses a fresh token; the External Client App must issue JWT-based "
                "tokens with the scopes api, chatbot_api and sfap_api, and the agent must allow it"
            ) from error

    def renew(self) -> None:
        """Fetch a token if there is none, or if the current one is due.

        For a background thread, which calls this again and again; meanwhile ``get`` returns the
        current token. A failure is logged, at most once in ``LOG_INTERVAL``.
        """
        with self._lock:
            if self._pending or (self._current and not self._current.is_due):
                return
            pending = self._pending = Future()
        self._fetch_into(pending)
        if isinstance(error := pending.exception(), AgentError):
            self._log_failure(error)

    def drop(self, token: Token) -> None:
        """Forget a token that was refused, unless another thread has replaced it already."""
        with self._lock:
            if self._current == token:
                self._current = None

    def _fetch_into(self, pending: Future[Token]) -> None:
        """Fetch a token, and give it or the error to the threads that wait for ``pending``."""
        try:
            # Not the deadline of this thread: others, with later deadlines, may wait too.
            with (
                Deadline(TOTAL_TIMEOUT * self._timeout_factor).applied(),
                self._metrics.watch("salesforce token"),
            ):
                token = self._fetch()
        except BaseException as error:
            with self._lock:
                self._pending = None
            pending.set_exception(error)
            return
        with self._lock:
            self._current, self._pending = token, None
        pending.set_result(token)

    def _log_failure(self, error: AgentError) -> None:
        if time.monotonic() - self._logged_at >= LOG_INTERVAL:
            self._logged_at = time.monotonic()
            log.warning("Salesforce token not renewed", error=str(error))

    def _fetch(self) -> Token:
        status, retry_after, answer = self._post()
        if status == 429 or status >= 500:
            raise AgentUnavailable(f"no token: HTTP {status}", retry_after=retry_after)
        if status != 200:
            raise _refusal(status, answer)
        if not isinstance(answer.get("access_token"), str):
            raise AgentUnavailable("the token endpoint answered with something else than a token")
        self._metrics.count("tokens_fetched")
        token = self._build_token(answer)
        _warn_of_missing_scopes(token)
        return token

    def _post(self) -> tuple[int, float | None, dict[str, Any]]:
        """Returns the status, ``Retry-After`` in seconds, and the JSON object of the body."""
        timeout = READ_TIMEOUT * self._timeout_factor
        try:
            with self._session.post(
                self._url, data=self._form, timeout=timeout, allow_redirects=False, stream=True
            ) as response:
                answer = json_object(b"".join(read_chunks(response, timeout)))
        except (requests.RequestException, DeadlineExceeded) as error:
            raise AgentUnavailable(f"no token: {type(error).__name__}") from error
        retry_after = parse_retry_after(response.headers.get("Retry-After"))
        return response.status_code, retry_after, answer

    def _build_token(self, answer: dict[str, Any]) -> Token:
        lifetime = _lifetime_seconds(answer)
        expires_at = time.monotonic() + lifetime
        return Token(
            value=answer["access_token"],
            api_url=self._api_url or answer.get("api_instance_url") or DEFAULT_API_URL,
            fresh_until=expires_at - min(EXPIRY_MARGIN, lifetime / 10),
            due_at=expires_at - min(RENEWAL_MARGIN, lifetime / 5),
            scopes=frozenset(str(answer.get("scope", "")).split()),
            instance_url=str(answer.get("instance_url") or ""),
        )


def _warn_of_missing_scopes(token: Token) -> None:
    if token.missing_scopes:
        log.warning(
            "The Salesforce app lacks scopes; Agentforce will refuse its token",
            missing=" ".join(sorted(token.missing_scopes)),
        )


def _lifetime_seconds(answer: dict[str, Any]) -> float:
    """The token's lifetime, by its own claims if it is a JWT, so that our clock may be wrong."""
    try:
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    except jwt.InvalidTokenError:
        claims = {}
    expiry, issued = _finite(claims.get("exp")), _finite(claims.get("iat", time.time()))
    if expiry is not None and issued is not None:
        return max(expiry - issued, 0.0)
    seconds = _finite(answer.get("expires_in"))
    return UNKNOWN_LIFETIME if seconds is None else seconds


def _finite(value: object) -> float | None:
    """A finite number; ``None`` if the value is anything else."""
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _refusal(status: int, answer: dict[str, Any]) -> LoginRefused:
    error = next(iter(codes(answer.get("error"))), f"HTTP {status}")
    text = f"{answer.get('error')} {answer.get('error_description')}"
    known = (hint for words, hint in _ADVICE_BY_WORDS.items() if words.lower() in text.lower())
    usual = _ADVICE.get(error, "check the External Client App in Salesforce Setup")
    return LoginRefused(f"Salesforce gives no token ({error})", hint=next(known, usual))
