"""Salesforce's error responses (docs/providers/agentforce.md, "Errors and what they mean")."""

from __future__ import annotations

import time
import uuid
from typing import Any

from flask import Response, jsonify, request

Json = dict[str, Any]

API = "/einstein/ai-agent/v1"


class Refusal(Exception):
    """An error response; ``breach`` is the rule that the caller broke, if it is their mistake."""

    def __init__(self, http: int, error: str, message: str, *, breach: str | None = None) -> None:
        super().__init__(f"{http} {error}: {message}")
        self.http = http
        self.error = error
        self.message = message
        self.breach = breach

    def response(self) -> Response:
        """The error object of the Agent API with its ``X-Request-ID``."""
        request_id = str(uuid.uuid4())
        body = {
            "status": self.http,
            "path": request.path.replace(API, "v6.0.0", 1),
            "mode": "unknown",
            "requestId": request_id,
            "error": self.error,
            "message": self.message,
            "timestamp": int(time.time() * 1000),
            "expected": self.http < 500,
        }
        return _with_request_id(jsonify(body), self.http, request_id)


class LoginRefusal(Refusal):
    """An error of the token endpoint, in OAuth's format.

    docs/providers/agentforce.md, "Token errors".
    """

    def response(self) -> Response:
        body = {"error": self.error, "error_description": self.message}
        return _with_request_id(jsonify(body), self.http)


class Unrecognised(Refusal):
    """The gateway's 404 without a body, for a missing token or one that is not a JWT.

    docs/providers/agentforce.md, "Refused tokens".
    """

    def __init__(self, *, breach: str | None = None) -> None:
        super().__init__(404, "", "", breach=breach)

    def response(self) -> Response:
        return _with_request_id(Response(status=404), self.http)


def _with_request_id(answer: Response, http: int, request_id: str | None = None) -> Response:
    answer.status_code = http
    answer.headers["X-Request-ID"] = request_id or str(uuid.uuid4())
    return answer


def bad_request(message: str, breach: str | None = None) -> Refusal:
    return Refusal(400, "BadRequestError", message, breach=breach or message)


def unsupported_media_type() -> Refusal:
    return Refusal(
        500,
        "HttpMediaTypeNotSupportedException",
        "Unsupported Media Type",
        breach="Content-Type is not application/json",
    )


def unauthorized() -> Refusal:
    return Refusal(401, "UnauthorizedError", "Access bearer token is missing or invalid")


def forbidden() -> Refusal:
    return Refusal(403, "ForbiddenError", "User forbidden from accessing the resource")


def session_not_found(session_id: str, breach: str | None = None, message: str = "") -> Refusal:
    usual = f"V6Session not found for sessionId: {session_id}"
    return Refusal(404, "NotFoundException", message or usual, breach=breach)


def session_locked(breach: str | None = None) -> Refusal:
    message = "Session Already Locked: another request of this session is being processed"
    return Refusal(423, "ServerBusyError", message, breach=breach)


def invalid_agent_id(agent_id: str) -> Refusal:
    return bad_request(f"{agent_id} is not a valid agent ID")


def unknown_agent() -> Refusal:
    """For a well-formed id of no agent, which is a mistake in the settings, not in the calls."""
    nested = '500 [{"message":"An unexpected error occurred","errorCode":"UNKNOWN_EXCEPTION"}]'
    return Refusal(500, "HttpServerErrorException", nested)


def inactive_agent() -> Refusal:
    message = "Cannot determine the active version for the agent"
    return Refusal(422, "RequestProcessingException", message)


def wrong_endpoint(endpoint: str) -> Refusal:
    return Refusal(
        500,
        "EngineConfigLookupException",
        f"Error while retrieving engine config for {endpoint}",
        breach="instanceConfig.endpoint is not the My Domain URL",
    )


def invalid_user() -> Refusal:
    """For ``bypassUser`` with an employee agent; a client can only find out by trying."""
    message = "Bad Request: Invalid user ID provided on start session: "
    return Refusal(400, "BadRequestError", message)


def variable_not_settable(name: str) -> Refusal:
    return Refusal(
        400,
        "InternalVariableMutationAttemptException",
        f"Internal variable mutation attempt: {name}",
        breach=f"variable {name} may not be set here",
    )


def timed_out() -> Refusal:
    return Refusal(500, "TimeoutException", "The request was not processed in time")


def agent_failed(message: str, breach: str | None = None) -> Refusal:
    return Refusal(500, "HttpServerErrorException", message, breach=breach)


def by_status(http: int, session_id: str) -> Refusal:
    """The most common error of the Agent API with this status, for injected faults."""
    usual = {
        400: Refusal(400, "BadRequestError", "Bad Request"),
        401: unauthorized(),
        403: forbidden(),
        404: session_not_found(session_id),
        410: Refusal(410, "NotAvailableError", "The requested resource is no longer available"),
        422: inactive_agent(),
        423: session_locked(),
        429: Refusal(429, "TooManyRequestsError", "Too many requests"),
        500: unknown_agent(),
        503: Refusal(503, "ServiceUnavailable", "The service is temporarily unavailable"),
    }
    return usual.get(http) or Refusal(http, "InternalServerError", "Unexpected error")


def login_by_status(http: int) -> LoginRefusal:
    """The most common error of the token endpoint with this status, for injected faults."""
    if http in (400, 401):
        return LoginRefusal(http, "invalid_client", "invalid client credentials")
    if http in (403, 429):
        return LoginRefusal(http, "invalid_grant", "login rate exceeded")
    return LoginRefusal(http, "unknown_error", "retry your request")
