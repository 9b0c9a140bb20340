"""ElevenLabs' error responses (docs/providers/elevenlabs.md, "Errors and what they mean")."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from flask import Response

Json = dict[str, Any]


class Refusal(Exception):
    """An error response; ``breach`` is the rule that the caller broke, if it is their mistake."""

    def __init__(self, http: int, detail: Json | list[Json], *, breach: str | None = None) -> None:
        super().__init__(f"{http} {detail}")
        self.http = http
        self.detail = detail
        self.breach = breach

    def response(self) -> Response:
        """A JSON response with a new ``request_id``, which is also the header ``x-trace-id``."""
        trace = uuid.uuid4().hex
        answer = Response(self.body(trace), self.http, mimetype="application/json")
        answer.headers["x-trace-id"] = trace
        return answer

    def body(self, trace: str = "0" * 32) -> str:
        detail = self.detail
        if isinstance(detail, dict):
            detail = {**detail, "request_id": trace}
        return json.dumps({"detail": detail}, ensure_ascii=False)


def _refusal(
    http: int,
    kind: str,
    code: str,
    message: str,
    *,
    status: str | None = None,
    param: str | None = None,
    breach: str | None = None,
) -> Refusal:
    """The current format of an error; ``status`` is the legacy code, by default ``code``."""
    detail = {"type": kind, "code": code, "message": message, "status": status or code}
    return Refusal(http, {**detail, "param": param}, breach=breach)


def schema(errors: list[Json], breach: str) -> Refusal:
    """422 for a request that does not match the schema; checked before authentication."""
    return Refusal(422, errors, breach=breach)


def invalid(
    code: str, message: str, *, param: str | None = None, status: str | None = None
) -> Refusal:
    """400 for a value that matches the schema but is not allowed."""
    return _refusal(
        400, "validation_error", code, message, status=status, param=param, breach=message
    )


def bad_audio(code: str, message: str) -> Refusal:
    """400 for a bad recording, which is not the caller's mistake."""
    return _refusal(400, "validation_error", code, message, param="file")


def invalid_api_key() -> Refusal:
    return _unauthorized("invalid_api_key", "Invalid API key")


def needs_authorization() -> Refusal:
    return _unauthorized(
        "needs_authorization", "Neither authorization header nor xi-api-key received."
    )


def invalid_authorization_header() -> Refusal:
    return _unauthorized("invalid_authorization_header", "Invalid authorization header.")


def missing_permissions(permission: str = "speech_to_text") -> Refusal:
    return _unauthorized(
        "missing_permissions",
        f"The API key you used is missing the permission {permission} to execute this operation.",
    )


def _unauthorized(status: str, message: str) -> Refusal:
    return _refusal(401, "authentication_error", "unauthorized", message, status=status)


def workspace_not_found() -> Refusal:
    """The answer to GET /v1/models without a key."""
    return _refusal(404, "not_found", "workspace_not_found", "Workspace not found.")


def quota_exceeded(quota: int, remaining: int, required: int) -> Refusal:
    """The service answers 401 here, not 402."""
    message = (
        f"This request exceeds your quota of {quota}. You have {remaining} credits remaining, "
        f"while {required} credits are required for this request."
    )
    return _refusal(401, "invalid_request", "quota_exceeded", message)


def insufficient_credits() -> Refusal:
    return _refusal(402, "payment_required", "insufficient_credits", "Insufficient credits.")


def output_format_not_allowed(output_format: str) -> Refusal:
    return _refusal(
        403,
        "authorization_error",
        "subscription_required",
        f"Output format {output_format} is not available on your current plan.",
        status="output_format_not_allowed",
        param="output_format",
    )


def voice_not_found(voice_id: str) -> Refusal:
    message = f"A voice with voice_id '{voice_id}' was not found."
    return _refusal(404, "not_found", "voice_not_found", message, param="voice_id")


def voice_does_not_exist(voice_id: str) -> Refusal:
    """The answer to GET /v1/voices/{id}, which is a 400."""
    message = f"A voice for the voice_id '{voice_id}' was not found."
    return Refusal(400, {"status": "voice_does_not_exist", "message": message})


def concurrent_limit_exceeded(limit: int) -> Refusal:
    """429 without Retry-After, as in the only recorded response."""
    return _refusal(
        429,
        "rate_limit_error",
        "concurrent_limit_exceeded",
        f"Too many concurrent requests. Your current subscription allows {limit} of them.",
        status="too_many_concurrent_requests",
    )


def maintenance() -> Refusal:
    message = "The service is temporarily unavailable."
    return _refusal(503, "service_unavailable", "maintenance", message)


def by_status(http: int) -> Refusal:
    """The most common error with this status, for injected faults."""
    usual: dict[int, Callable[[], Refusal]] = {
        401: invalid_api_key,
        402: insufficient_credits,
        403: lambda: output_format_not_allowed("opus_48000_32"),
        404: lambda: voice_not_found("unknown"),
        422: _no_text,
        429: lambda: concurrent_limit_exceeded(10),
        503: maintenance,
    }
    if http in usual:
        return usual[http]()
    kind = "internal_error" if http >= 500 else "invalid_request"
    return _refusal(http, kind, "bad_request" if http < 500 else kind, "Something went wrong.")


def _no_text() -> Refusal:
    missing = {"type": "missing", "loc": ["body", "text"], "msg": "Field required", "input": None}
    return schema([missing], "text is missing")
