"""Translates ElevenLabs' errors (docs/providers/elevenlabs.md, "Errors and what they mean")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx
from elevenlabs.core.api_error import ApiError

from core.deadline import clamp
from core.error_codes import codes
from core.errors import (
    DeadlineExceeded,
    SpeechBusy,
    SpeechError,
    SpeechRefused,
    SpeechUnavailable,
)
from http_clients.bodies import UNREADABLE
from http_clients.retries import parse_retry_after

T = TypeVar("T")

# The codes and parameters in a refusal of the output format.
_ABOUT_FORMAT = frozenset({"output_format_not_allowed", "invalid_output_format", "output_format"})
_RETRYABLE_STATUS = frozenset({408, 409})


class FormatRefused(SpeechRefused):
    """The plan, or the model, does not include the output format."""

    # Another format will do.
    provider_state = ""


def translate_errors(call: Callable[[], T]) -> T:
    """Make a call of the SDK, and raise its errors as ``SpeechError``.

    Raises ``DeadlineExceeded`` if the deadline has passed before the call.
    """
    # Outside of ``try``: this is not an error of ElevenLabs.
    clamp(0)
    try:
        return call()
    except ApiError as error:
        headers = error.headers or {}
        raise read_refusal(error.status_code or 0, error.body, headers) from None
    except (httpx.HTTPError, DeadlineExceeded, *UNREADABLE) as error:
        raise SpeechUnavailable(f"no answer from ElevenLabs: {type(error).__name__}") from error


def read_refusal(status: int, body: Any, headers: Mapping[str, str]) -> SpeechError:
    """The error for a response of ElevenLabs; ``body`` is its JSON, if it is JSON."""
    named = _read_codes(body)
    reason = f"ElevenLabs: HTTP {status} {' '.join(named)}".strip()
    if status == 429:
        return SpeechBusy(reason, retry_after=parse_retry_after(headers.get("retry-after")))
    if status in _RETRYABLE_STATUS or status >= 500 or status < 300:
        return SpeechUnavailable(reason)
    if _ABOUT_FORMAT.intersection(named):
        return FormatRefused(reason)
    return SpeechRefused(reason)


def _read_codes(body: Any) -> list[str]:
    """``type``, ``code``, ``status`` and ``param`` of an error body in any of its three shapes."""
    detail = body.get("detail") if isinstance(body, dict) else None
    if isinstance(detail, list):
        return codes(
            *(code for fault in detail if isinstance(fault, dict) for code in _read_fault(fault))
        )
    if not isinstance(detail, dict):
        return []
    return codes(*(detail.get(key) for key in ("type", "code", "status", "param")))


def _read_fault(fault: dict[str, Any]) -> list[object]:
    """The type of a fault in a request, and its location: ``missing``, ``body``, ``text``."""
    place = fault.get("loc")
    return [fault.get("type"), *(place if isinstance(place, list) else ())]
