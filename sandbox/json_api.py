"""What the sandbox's JSON APIs have in common: who may use them, and how they refuse."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, request


class InvalidRequest(ValueError):
    """A wrong request; the message is one sentence that says why."""


def protect(app: Flask, *, own_page: bool = False) -> None:
    """Refuse requests of other computers and foreign web pages with 403, invalid ones with 400.

    With ``own_page`` pages of other servers on this computer are foreign, too.
    """
    app.before_request(_refuse_foreign_requests)
    if own_page:
        app.before_request(_refuse_other_pages)
    app.register_error_handler(InvalidRequest, _bad_request)


def json_object() -> dict[str, Any]:
    """The JSON object that was posted. Raises ``InvalidRequest``."""
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return body


def _bad_request(error: InvalidRequest) -> tuple[Response, int]:
    return jsonify(error=str(error)), 400


def _refuse_foreign_requests() -> tuple[Response, int] | None:
    """Protect against web pages: refuse foreign origins, and foreign names (DNS rebinding)."""
    hosts = [f"//{request.host}", f"//{request.remote_addr}"]
    origin = request.headers.get("Origin")
    if all(_is_loopback(host) for host in ([*hosts, origin] if origin else hosts)):
        return None
    return jsonify(error="The sandbox is controlled from this computer only."), 403


def _refuse_other_pages() -> tuple[Response, int] | None:
    if request.headers.get("Origin", request.host_url.rstrip("/")) == request.host_url.rstrip("/"):
        return None
    return jsonify(error="The sandbox is controlled from its own page only."), 403


def _is_loopback(address: str) -> bool:
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
