"""Salesforce Agentforce: starts sessions, asks in them, ends them, and reads the answers.

The format of answers: docs/providers/agentforce.md, "Message types", and
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
from http_clients.bodies import UNREADABLE, json_object, read_body, read_chunks
from http_clients.circuit_breakers import CircuitBreakers
from http_clients.concurrency import ConcurrencyLimiter
from http_clients.event_stream import read_events
from http_clients.oauth_token import AccessToken, Token, TokenRefused
from http_clients.retries import parse_retry_after, retrying
from http_clients.routes import Route
from http_clients.unsent_requests import request_was_not_sent
from metrics import Metrics
from text.markdown import clean, paragraphs

log = structlog.get_logger(__name__)

API_PATH = "/einstein/ai-agent/v1"
SESSIONS = "/sessions"
# Timeouts in seconds. Starting a session takes seconds, not minutes.
SESSION_TIMEOUT = 20.0
# Agentforce itself answers 500 after 120 s (docs/providers/agentforce.md, "Limits").
ANSWER_TIMEOUT = 125.0
END_TIMEOUT = 10.0
# For a whole JSON body, which is small and arrives with the status.
BODY_TIMEOUT = 10.0
# After EndOfTurn, the end of the stream is awaited for this time before the connection is closed.
DRAIN_TIMEOUT = 2.0
# The maximum size of a streamed answer: about 10,000 words at 400 bytes per event.
STREAM_LIMIT_BYTES = 4 * 1024 * 1024
# In seconds. Rate limits (429) and locked sessions (423) are retried for longer, see
# ``retry_seconds`` of their errors.
RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)

EndReason = Literal["UserRequest", "Transfer", "Expiration", "Error", "Other"]
Message = dict[str, Any]


class SessionGone(AgentError):
    """Agentforce does not know the session (any more)."""


class AnswerListener(Protocol):
    """Follows an answer while it is written; its methods must not raise."""

    def write(self, chunk: str) -> None:
        """Called with the next chunk of the answer, in Markdown."""

    def discard(self) -> None:
        """Called if the agent takes back all chunks so far."""


class Agentforce:
    """The agent. Requests of one session must be made one at a time.

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
        self._timeout_factor = settings.PROVIDER_TIMEOUT_FACTOR
        self._answer_timeout = ANSWER_TIMEOUT * settings.PROVIDER_TIMEOUT_FACTOR
        self._sequence = _SequenceNumbers()
        # Agentforce documents no limit; the limiter learns it from 429 responses.
        self._limiter = ConcurrencyLimiter(settings.TURN_THREADS, provider="Agentforce")
        # Two breakers: session starts that succeed would close a shared one while questions fail.
        self._session_breaker = breakers.create("Agentforce sessions", AgentUnavailable)
        self._answer_breaker = breakers.create("Agentforce answers", AgentUnavailable)
        # ``bypassUser``: service agents need true. Employee agents refuse that; then it stays false
        # (docs/providers/agentforce.md, "Starting a session").
        self._bypass_user = True

    def routes(self) -> Iterator[Route]:
        """The routes to keep warm; the one to the API is known once there is a token."""
        # ``AccessToken.renew`` logs why there is none.
        with suppress(AgentError):
            yield Route(self._http, self._token.get().api_url)
        yield self._token.route()

    def start(self, *, retry: bool = True) -> AgentSession:
        """Start a session, with several tries if ``retry``. Raises ``AgentError``."""
        try_repeatedly = retrying(RETRY_DELAYS if retry else (), factor=self._timeout_factor)
        with self._metrics.timer("session_time"):
            session_id = self._session_breaker.call(lambda: try_repeatedly(self._start_once))
        self._metrics.count("sessions_started")
        return AgentSession(session_id, time.time())

    def ask(
        self, session: AgentSession, text: str, listener: AnswerListener | None = None
    ) -> AgentReply:
        """Ask in a session; ``listener`` follows the answer if it is streamed.

        Raises ``SessionGone``, in which case the agent did not get the question, or another
        ``AgentError``.
        """
        try_repeatedly = retrying(RETRY_DELAYS, factor=self._timeout_factor)
        return self._answer_breaker.call(
            lambda: try_repeatedly(self._ask_once, session, text, listener)
        )

    def end(self, session: AgentSession, reason: EndReason) -> None:
        """End a session. A failure is logged; it does no harm, because unused sessions expire."""
        try:
            with self._request(
                "DELETE",
                f"{SESSIONS}/{session.id}",
                timeout=END_TIMEOUT * self._timeout_factor,
                headers={"x-session-end-reason": reason},
            ) as response:
                # A connection can be used again once the body is read.
                self._read_body(response)
        except SessionGone:
            pass
        except AgentError as error:
            log.info("Agentforce session not ended", error=str(error))

    def _start_once(self) -> str:
        """Returns the id of the new session."""
        with self._metrics.watch("salesforce session"):
            try:
                return self._post_session(bypass_user=self._bypass_user)
            except AgentMisconfigured as error:
                if "Invalid user ID" not in str(error) or not self._bypass_user:
                    raise
                self._bypass_user = False
                return self._post_session(bypass_user=False)

    def _post_session(self, *, bypass_user: bool) -> str:
        body = {
            "externalSessionKey": str(uuid.uuid4()),
            "instanceConfig": {"endpoint": self._settings.SALESFORCE_INSTANCE_URL},
            "streamingCapabilities": {"chunkTypes": ["Text"]},
            "bypassUser": bypass_user,
        }
        path = f"/agents/{self._settings.AGENTFORCE_AGENT_ID}/sessions"
        timeout = SESSION_TIMEOUT * self._timeout_factor
        with (
            self._limiter.slot(),
            self._request("POST", path, timeout=timeout, json=body) as response,
        ):
            session_id = json_object(self._read_body(response)).get("sessionId")
        if not isinstance(session_id, str) or not session_id:
            raise AgentUnavailable("Agentforce started a session without an id")
        return session_id

    def _ask_once(
        self, session: AgentSession, text: str, listener: AnswerListener | None
    ) -> AgentReply:
        streaming = self._settings.AGENTFORCE_STREAMING
        # A new number for every try: Agentforce refuses one that was used.
        question = {"sequenceId": self._sequence.next(), "type": "Text", "text": text}
        with self._limiter.slot(), self._metrics.watch("salesforce answer"):
            response = self._request(
                "POST",
                f"{SESSIONS}/{session.id}/messages" + ("/stream" if streaming else ""),
                timeout=self._answer_timeout,
                json={"message": question, "variables": []},
                headers={"Accept": "text/event-stream" if streaming else "application/json"},
                has_effect=True,
            )
            if streaming:
                return self._read_streamed_answer(response, listener)
            with response:
                return self._read_whole_answer(response)

    def _read_streamed_answer(
        self, response: requests.Response, listener: AnswerListener | None
    ) -> AgentReply:
        """Returns at the end of the turn; the end of the stream is awaited in the background."""
        body = read_chunks(response, self._answer_timeout, max_bytes=STREAM_LIMIT_BYTES)
        try:
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise AgentDown("Agentforce answered with something else than an event stream")
            return read_stream(read_events(body), listener)
        except (requests.RequestException, DeadlineExceeded) as error:
            raise AgentDown(f"the answer broke off: {type(error).__name__}") from error
        finally:
            self._background.submit(_drain, response, body)

    def _read_whole_answer(self, response: requests.Response) -> AgentReply:
        if response.status_code == 204:
            return AgentReply()
        messages = json_object(self._read_body(response)).get("messages")
        if not isinstance(messages, list):
            raise AgentDown("Agentforce answered with something else than messages")
        return read_messages(message for message in messages if isinstance(message, dict))

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send with a token that Agentforce accepts; takes the options of ``_send``.

        Returns a successful response whose body is yet to be read. Raises ``AgentError``.
        """
        return self._token.call(lambda token: self._send(method, path, token, **options))

    def _send(
        self,
        method: str,
        path: str,
        token: Token,
        *,
        timeout: float,
        has_effect: bool = False,
        headers: dict[str, str] | None = None,
        json: object = None,
    ) -> requests.Response:
        """Send once. ``has_effect``: if the request arrives, the agent may act on it."""
        try:
            response = self._http.request(
                method,
                token.api_url + API_PATH + path,
                json=json,
                headers={"Authorization": f"Bearer {token.value}", **(headers or {})},
                timeout=clamp(timeout),
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException as error:
            maybe_acted = has_effect and not request_was_not_sent(error)
            kind = AgentDown if maybe_acted else AgentUnavailable
            raise kind(f"no answer from Agentforce: {type(error).__name__}") from error
        if response.ok and not response.is_redirect:
            return response
        with response:
            raise _refusal(
                response,
                self._read_body(response),
                has_effect=has_effect,
                names_session=path.startswith(f"{SESSIONS}/"),
            )

    def _read_body(self, response: requests.Response) -> bytes:
        """The whole body; empty if it is late, breaks off or is far too large."""
        try:
            return read_body(response, clamp(BODY_TIMEOUT * self._timeout_factor))
        except (requests.RequestException, DeadlineExceeded):
            return b""


class _SequenceNumbers:
    """Numbers for messages, which increase, also from one start of the process to the next.

    docs/providers/agentforce.md, "Sequence numbers".
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        with self._lock:
            self._last = max(int(time.time() * 1000), self._last + 1)
            return self._last


def _drain(response: requests.Response, body: Iterator[bytes]) -> None:
    """Read a stream to its end, after which its connection can be used again."""
    with response, Deadline(DRAIN_TIMEOUT).applied():
        try:
            for _ in body:
                pass
        except (requests.RequestException, DeadlineExceeded):
            log.debug("Agentforce did not end its stream")


# Sentences of errors that may be logged; other sentences may quote what somebody wrote.
_KNOWN_SENTENCES = (
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
_CONFIGURATION_ERRORS = (
    "EngineConfigLookupException",
    "InactiveConfigException",
    "Unsupported Media Type",
)
# What the start of a session answers to a wrong agent id. Later it is a failure like any other.
_UNKNOWN_AGENT_ERRORS = ("UNKNOWN_EXCEPTION", "HttpServerErrorException")


def _refusal(
    response: requests.Response, body: bytes, *, has_effect: bool, names_session: bool
) -> AgentError:
    """The error for a response (docs/providers/agentforce.md, "Errors and what they mean").

    ``has_effect``: the agent may have acted on the request already. ``names_session``: the path
    names a session, so that a 404 means that the session is gone, whatever its message. If the
    agent itself is missing, starting the next session fails and says so.
    """
    status, answer = response.status_code, json_object(body)
    message = f"{answer.get('error', '')} {answer.get('message', '')}"
    sentences = (sentence for sentence in _KNOWN_SENTENCES if sentence in message)
    reason = " ".join([f"HTTP {status}", *codes_in(message), *sentences])
    if status == 401 and "not attached" not in reason:
        return TokenRefused(reason)
    if status == 404 and not body.strip():
        return TokenRefused(reason)
    if names_session and status in (404, 410):
        return SessionGone(reason)
    if status in (423, 429):
        kind = AgentLocked if status == 423 else AgentBusy
        return kind(reason, retry_after=parse_retry_after(response.headers.get("Retry-After")))
    permanent = _CONFIGURATION_ERRORS + (() if names_session else _UNKNOWN_AGENT_ERRORS)
    if status < 500 or any(error in reason for error in permanent):
        return AgentMisconfigured(reason)
    return AgentDown(reason) if has_effect else AgentUnavailable(reason)


# Types whose text is never shown. The text of all other types is shown; some also set a flag.
_HIDDEN_TYPES = ("ProgressIndicator", "ThoughtTextChunk", "LightningChunk", "EndOfTurn")


def read_messages(messages: Iterable[Message]) -> AgentReply:
    """Join the texts of an answer's messages, and set the flags that their types stand for.

    Raises ``AgentFailed`` if one of them is an ``Error``.
    """
    texts: list[str] = []
    escalated = ended = failed = asks = False
    for message in messages:
        kind = message.get("type")
        if kind == "Error":
            raise _answer_error(message)
        escalated |= kind == "Escalate" or message.get("code") == "ESCALATE"
        ended |= kind == "SessionEnded"
        failed |= kind == "Failure" and message.get("code") != "ESCALATE"
        asks |= kind in ("Inquire", "Confirm")
        if kind not in _HIDDEN_TYPES:
            texts.append(_text(message))
    return AgentReply(clean(paragraphs(texts)).strip(), escalated, ended, failed, asks)


def read_stream(events: Iterable[str], listener: AnswerListener | None = None) -> AgentReply:
    """Read the answer from the ``data`` of the stream's events, up to the end of the turn.

    If any complete message has a text, all chunks are ignored. A ``ValidationFailureChunk``
    discards the chunks before it.
    Raises ``AgentFailed`` for an error event or one that is not UTF-8, ``AnswerTruncated`` if the
    events end before the turn.
    """
    turn = _StreamedAnswer(listener)
    try:
        for data in events:
            for message in _parse_event(data):
                turn.add(message)
            if turn.is_over:
                return turn.reply()
    except UnicodeDecodeError as error:
        raise AgentFailed("Agentforce sent an event that is not UTF-8") from error
    raise AnswerTruncated


@dataclass
class _StreamedAnswer:
    """The part of the answer that has arrived."""

    listener: AnswerListener | None
    chunks: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    is_over: bool = False

    def add(self, message: Message) -> None:
        kind = message.get("type")
        if kind == "TextChunk":
            self._add_chunk(_text(message))
        elif kind == "ValidationFailureChunk":
            self._discard_chunks()
        else:
            self.messages.append(message)
            self.is_over |= kind in ("EndOfTurn", "SessionEnded", "Error")

    def reply(self) -> AgentReply:
        reply = read_messages(self.messages)
        if reply.text:
            return reply
        return replace(reply, text=clean("".join(self.chunks)).strip())

    def _add_chunk(self, chunk: str) -> None:
        self.chunks.append(chunk)
        if self.listener:
            self.listener.write(chunk)

    def _discard_chunks(self) -> None:
        self.chunks.clear()
        if self.listener:
            self.listener.discard()


def _parse_event(data: str) -> Iterator[Message]:
    """The messages of an event, which is an envelope of one, a whole answer or a bare error."""
    try:
        event = json.loads(data)
    except UNREADABLE:
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


def _answer_error(message: Message) -> AgentFailed:
    names = codes_in(str(message.get("error"))) or ["an error"]
    status = message.get("httpStatus", message.get("status"))
    suffix = f" ({status})" if isinstance(status, int) else ""
    return AgentFailed(f"Agentforce ended the turn with {' '.join(names)}{suffix}")
