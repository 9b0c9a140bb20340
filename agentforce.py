"""Salesforce Agentforce over HTTP: sessions, questions, and reading what the agent answers.

What answers look like is in docs/providers/agentforce.md, "Message types", and
docs/providers/agentforce.md, "Event stream".
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import requests
import structlog

from core.deadline import Deadline, clamp
from core.error_codes import codes_in
from core.errors import (
    AgentBusy,
    AgentDown,
    AgentError,
    AgentFailed,
    AgentLocked,
    AgentMisconfigured,
    AgentUnavailable,
    AnswerTruncated,
    DeadlineExceeded,
)
from core.models import AgentReply, AgentSession
from core.settings import Settings
from http_clients.bodies import json_object, read_chunks
from http_clients.circuit_breakers import CircuitBreakers
from http_clients.concurrency import ConcurrencyLimiter
from http_clients.event_stream import read_events
from http_clients.oauth_token import AccessToken, Token
from http_clients.retries import parse_retry_after, retrying
from http_clients.routes import Route
from http_clients.unsent_requests import request_was_not_sent
from metrics import Metrics
from text.markdown import clean, paragraphs

log = structlog.get_logger(__name__)

API_PATH = "/einstein/ai-agent/v1"
SESSIONS = "/sessions"
# Starting a session takes seconds, not minutes.
SESSION_TIMEOUT = 20.0
END_TIMEOUT = 10.0
# For all of a body in JSON, which is small and comes with the status.
BODY_TIMEOUT = 10.0
# The end of a stream comes with that of the turn; a connection that takes longer is given up.
DRAIN_TIMEOUT = 2.0
# Of an answer as it comes: each word may be an event of 400 bytes, and ten thousand are more than
# any agent writes.
STREAM_LIMIT = 4 * 1024 * 1024
# Limits (429) and locked sessions (423) are waited out longer, see their errors' ``patience``.
RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)

EndReason = Literal["UserRequest", "Transfer", "Expiration", "Error", "Other"]


class SessionGone(AgentError):
    """Agentforce does not know the session (any more)."""


class TokenRefused(AgentError):
    """Agentforce does not take the token (any more)."""


class Agentforce:
    """The agent. Requests of one session must come one at a time.

    docs/providers/agentforce.md, "Limits".
    """

    def __init__(
        self,
        *,
        session: requests.Session,
        token: AccessToken,
        metrics: Metrics,
        settings: Settings,
        breakers: CircuitBreakers,
        background: Executor,
    ) -> None:
        self._http = session
        self._background = background
        self._token = token
        self._metrics = metrics
        self._settings = settings
        self._patience = settings.CLOUD_PATIENCE
        self._sequence = _Sequence()
        # No limit is documented; refusals teach one.
        self._limiter = ConcurrencyLimiter(settings.TURN_THREADS, provider="Agentforce")
        # Sessions may start while no question is answered, and would hide that.
        self._starting = breakers.create("Agentforce sessions", AgentUnavailable)
        self._asking = breakers.create("Agentforce answers", AgentUnavailable)
        # Service agents run as their own user; employee agents have none and say so
        # (docs/providers/agentforce.md, "Starting a session").
        self._bypass_user = True

    def routes(self) -> Iterator[Route]:
        """What is worth keeping open; the API's host is known once there is a token."""
        # Where there is none, whoever renews it says so.
        with suppress(AgentError):
            yield Route(self._http, self._token.get().api_url)
        yield self._token.route()

    def start(self, *, patient: bool = True) -> AgentSession:
        """A new session, of nobody yet. Raises ``AgentError``, at once unless ``patient``."""
        request = self._request_session
        tries = retrying(RETRY_DELAYS if patient else (), factor=self._patience)
        with self._metrics.timer("session_time"):
            session_id = self._starting.call(lambda: tries(request))
        self._metrics.count("sessions_started")
        return AgentSession(session_id, time.time())

    def ask(
        self, session: AgentSession, text: str, listener: AnswerListener | None = None
    ) -> AgentReply:
        """Ask in a session; ``listener`` follows the answer where it is streamed.

        Raises ``SessionGone``, where it was surely not heard, or another ``AgentError``.
        """
        tries = retrying(RETRY_DELAYS, factor=self._patience)
        return self._asking.call(lambda: tries(self._question, session, text, listener))

    def end(self, session: AgentSession, reason: EndReason) -> None:
        """End a session; failing is logged and otherwise harmless, for sessions age out."""
        path = f"{SESSIONS}/{session.id}"
        headers = {"x-session-end-reason": reason}
        timeout = END_TIMEOUT * self._patience
        try:
            with self._call("DELETE", path, timeout=timeout, headers=headers) as response:
                # Read to its end, so that the connection can be used again.
                self._json(response)
        except SessionGone:
            pass
        except AgentError as error:
            log.info("Agentforce session not ended", error=str(error))

    def _request_session(self) -> str:
        try:
            return self._new_session(bypass_user=self._bypass_user)
        except AgentMisconfigured as error:
            if "Invalid user ID" not in str(error) or not self._bypass_user:
                raise
            self._bypass_user = False
            return self._new_session(bypass_user=False)

    def _new_session(self, *, bypass_user: bool) -> str:
        body = {
            "externalSessionKey": str(uuid.uuid4()),
            "instanceConfig": {"endpoint": self._settings.SALESFORCE_INSTANCE_URL},
            "streamingCapabilities": {"chunkTypes": ["Text"]},
            "bypassUser": bypass_user,
        }
        path = f"/agents/{self._settings.AGENTFORCE_AGENT_ID}/sessions"
        timeout = SESSION_TIMEOUT * self._patience
        with (
            self._limiter.slot(),
            self._call("POST", path, timeout=timeout, json=body) as response,
        ):
            session_id = self._json(response).get("sessionId")
        if not isinstance(session_id, str) or not session_id:
            raise AgentUnavailable("Agentforce started a session without naming it")
        return session_id

    def _question(
        self, session: AgentSession, text: str, listener: AnswerListener | None
    ) -> AgentReply:
        streaming = self._settings.AGENTFORCE_STREAMING
        # Every attempt takes a new number: a used one is refused.
        question = {"sequenceId": self._sequence.next(), "type": "Text", "text": text}
        with self._limiter.slot():
            response = self._call(
                "POST",
                f"{SESSIONS}/{session.id}/messages" + ("/stream" if streaming else ""),
                timeout=self._settings.AGENTFORCE_TIMEOUT,
                json={"message": question, "variables": []},
                headers={"Accept": "text/event-stream" if streaming else "application/json"},
                effect=True,
            )
            if streaming:
                return self._streamed(response, listener)
            with response:
                return self._whole(response)

    def _streamed(self, response: requests.Response, listener: AnswerListener | None) -> AgentReply:
        """The reply, as soon as its turn is over; the end of the stream is read beside the path."""
        body = read_chunks(response, self._settings.AGENTFORCE_TIMEOUT, most=STREAM_LIMIT)
        try:
            _check_stream(response)
            return read_stream(_event_data(body), listener)
        except (requests.RequestException, DeadlineExceeded) as error:
            raise AgentDown(f"the answer broke off: {type(error).__name__}") from error
        finally:
            self._background.submit(_drain, response, body)

    def _call(
        self, method: str, path: str, *, timeout: float, effect: bool = False, **request: Any
    ) -> requests.Response:
        """A successful response; a refused token is replaced once. Raises ``AgentError``."""
        token = self._token.get()
        try:
            return self._send(token, method, path, timeout, effect, request)
        except TokenRefused:
            self._token.drop(token)
        try:
            return self._send(self._token.get(), method, path, timeout, effect, request)
        except TokenRefused as error:
            raise AgentMisconfigured(
                "Agentforce refuses a fresh token; the External Client App must issue JWT-based "
                "tokens with the scopes api, chatbot_api and sfap_api, and the agent must allow it"
            ) from error

    def _send(
        self,
        token: Token,
        method: str,
        path: str,
        timeout: float,
        effect: bool,
        request: dict[str, Any],
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {token.value}", **request.get("headers", {})}
        try:
            response = self._http.request(
                method,
                token.api_url + API_PATH + path,
                json=request.get("json"),
                headers=headers,
                timeout=clamp(timeout),
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException as error:
            kind = AgentDown if effect and not request_was_not_sent(error) else AgentUnavailable
            raise kind(f"no answer from Agentforce: {type(error).__name__}") from error
        if response.ok and not response.is_redirect:
            return response
        in_session = path.startswith(f"{SESSIONS}/")
        with response:
            raise _refusal(response, self._body(response), effect=effect, in_session=in_session)

    def _whole(self, response: requests.Response) -> AgentReply:
        if response.status_code == 204:
            return AgentReply()
        messages = self._json(response).get("messages")
        if not isinstance(messages, list):
            raise AgentDown("Agentforce answered with something else than messages")
        return read_messages(message for message in messages if isinstance(message, dict))

    def _json(self, response: requests.Response) -> dict[str, Any]:
        return json_object(self._body(response))

    def _body(self, response: requests.Response) -> bytes:
        """All of it; nothing where it does not come in time, breaks off or is far too large."""
        timeout = BODY_TIMEOUT * self._patience
        try:
            with Deadline(clamp(timeout)).applied():
                return b"".join(read_chunks(response, timeout))
        except (requests.RequestException, DeadlineExceeded):
            return b""


class _Sequence:
    """Message numbers that always grow, also across restarts.

    docs/providers/agentforce.md, "Sequence numbers".
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        with self._lock:
            self._last = max(int(time.time() * 1000), self._last + 1)
            return self._last


def _check_stream(response: requests.Response) -> None:
    if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
        raise AgentDown("Agentforce answered with something else than an event stream")


def _event_data(body: Iterator[bytes]) -> Iterator[str]:
    try:
        yield from read_events(body)
    except UnicodeDecodeError as error:
        raise AgentFailed("Agentforce sent an event that is not UTF-8") from error


def _drain(response: requests.Response, body: Iterator[bytes]) -> None:
    """Read on to the end, just behind that of the turn; only then the connection can be kept."""
    with response, Deadline(DRAIN_TIMEOUT).applied():
        try:
            for _ in body:
                pass
        except (requests.RequestException, DeadlineExceeded):
            log.debug("Agentforce did not end its stream")


def _refusal(
    response: requests.Response, content: bytes, *, effect: bool, in_session: bool
) -> AgentError:
    """What an error status means (docs/providers/agentforce.md, "Errors and what they mean").

    ``effect`` where the agent may have acted already; ``in_session`` where a session was named. A
    404 for one says that it is gone, in whatever words: what else may be wrong, such as the agent
    itself, is said when the next one is to start.
    """
    status, body = response.status_code, json_object(content)
    said = f"{body.get('error', '')} {body.get('message', '')}"
    known = (words for words in _SAID if words in said)
    reason = " ".join([f"HTTP {status}", *codes_in(said), *known])
    if status == 401 and "not attached" not in reason:
        return TokenRefused(reason)
    if status == 404 and not content.strip():
        return TokenRefused(reason)
    if in_session and status in (404, 410):
        return SessionGone(reason)
    if status in (423, 429):
        kind = AgentLocked if status == 423 else AgentBusy
        return kind(reason, retry_after=parse_retry_after(response.headers.get("Retry-After")))
    if status < 500 or any(sign in reason for sign in _MISCONFIGURED):
        return AgentMisconfigured(reason)
    if effect:
        return AgentDown(reason)
    return AgentUnavailable(reason)


# Known sentences of its errors; others may quote what somebody said.
_SAID = (
    "is not a valid agent ID",
    "Invalid user ID",
    "Bad force-config endpoint",
    "Illegal Path Character",
    "bearer token is missing or invalid",
    "Connected app is not attached to Agent",
    "User forbidden from accessing the resource",
    "V6Session not found",
    "No valid version available",
    "No access to Einstein Copilot",
    "Cannot determine the active version for the agent",
    "Session Already Locked",
    "Unsupported Media Type",
    "Config is not active",
)
_MISCONFIGURED = (
    "EngineConfigLookupException",
    "InactiveConfigException",
    "UNKNOWN_EXCEPTION",
    "HttpServerErrorException",
    "Unsupported Media Type",
)


log = structlog.get_logger(__name__)

Message = dict[str, Any]

# Everything else either has a meaning of its own or is shown if it carries a text.
_UNSHOWN = ("ProgressIndicator", "ThoughtTextChunk", "LightningChunk", "EndOfTurn")


class AnswerListener(Protocol):
    """Follows an answer while it is written; neither method may raise."""

    def write(self, chunk: str) -> None:
        """The answer goes on with ``chunk`` (Markdown), for all that is known so far."""

    def discard(self) -> None:
        """What was written so far is not part of the answer."""


def read_messages(messages: Iterable[Message]) -> AgentReply:
    """Join the texts of an answer's messages and note what they mean.

    Raises ``AgentFailed`` where one of them is an ``Error``.
    """
    texts: list[str] = []
    escalated = ended = failed = asks = False
    for message in messages:
        kind = message.get("type")
        if kind == "Error":
            raise _error(message)
        escalated |= kind == "Escalate" or message.get("code") == "ESCALATE"
        ended |= kind == "SessionEnded"
        failed |= kind == "Failure" and message.get("code") != "ESCALATE"
        asks |= kind in ("Inquire", "Confirm")
        if kind not in _UNSHOWN:
            texts.append(_text(message))
    return AgentReply(clean(paragraphs(texts)).strip(), escalated, ended, failed, asks)


def read_stream(events: Iterable[str], listener: AnswerListener | None = None) -> AgentReply:
    """Read a turn from the ``data`` of its events, up to its end.

    A final message replaces the chunks before it; a ``ValidationFailureChunk`` discards them.
    Raises ``AgentFailed`` on an error event, ``AnswerTruncated`` where the end is missing.
    """
    turn = _Turn(listener)
    for data in events:
        for message in _messages(data):
            turn.take(message)
        if turn.over:
            return turn.reply()
    raise AnswerTruncated


@dataclass
class _Turn:
    listener: AnswerListener | None
    chunks: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    over: bool = False

    def take(self, message: Message) -> None:
        kind = message.get("type")
        if kind == "TextChunk":
            self._write(_text(message))
        elif kind == "ValidationFailureChunk":
            self._discard()
        else:
            self.messages.append(message)
            self.over |= kind in ("EndOfTurn", "SessionEnded", "Error")

    def _write(self, chunk: str) -> None:
        self.chunks.append(chunk)
        if self.listener:
            self.listener.write(chunk)

    def _discard(self) -> None:
        self.chunks.clear()
        if self.listener:
            self.listener.discard()

    def reply(self) -> AgentReply:
        reply = read_messages(self.messages)
        if reply.text:
            return reply
        return replace(reply, text=clean("".join(self.chunks)).strip())


def _messages(data: str) -> Iterator[Message]:
    """The messages of one event: an envelope, a bare error, or a whole answer."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        log.warning("Agentforce sent an event that is not JSON", length=len(data))
        return
    if not isinstance(event, dict):
        return
    if isinstance(event.get("message"), dict):
        yield event["message"]
    elif isinstance(event.get("messages"), list):
        yield from (message for message in event["messages"] if isinstance(message, dict))
    elif "error" in event:
        yield {**event, "type": "Error"}


def _text(message: Message) -> str:
    text = message.get("message")
    return text if isinstance(text, str) else ""


def _error(message: Message) -> AgentFailed:
    status = message.get("httpStatus", message.get("status"))
    names = codes_in(str(message.get("error"))) or ["an error"]
    of = f" ({status})" if isinstance(status, int) else ""
    return AgentFailed(f"Agentforce ended the turn with {' '.join(names)}{of}")
