"""Checks for every request, and headers for every response."""

from __future__ import annotations

import structlog
from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException, InternalServerError

from web.request_limits import BODY_LIMIT, RequestLimits

log = structlog.get_logger(__name__)

LOCAL_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
FORM = "application/x-www-form-urlencoded"
# For responses that do not set them.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Browsers ignore it over http.
STRICT_TRANSPORT = "max-age=31536000"


def add_security(app: Flask, *, public_url: str, only_local: bool) -> None:
    """Accept only forms of a limited size; add security headers, and hide details of errors.

    With ``only_local``, requests must name this machine as the host: a web page whose name is made
    to lead here (DNS rebinding) must not read ours.
    """
    if only_local:
        app.config["TRUSTED_HOSTS"] = LOCAL_HOSTS
    app.wsgi_app = RequestLimits(app.wsgi_app)  # type: ignore[method-assign]
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    headers = HEADERS | (
        {"Strict-Transport-Security": STRICT_TRANSPORT} if public_url.startswith("https:") else {}
    )

    @app.before_request
    def refuse_double_slashes() -> None:
        # Werkzeug would route "//status" to "/status"; each page has one address only.
        if request.environ.get("PATH_INFO", "").startswith("//"):
            abort(404)

    @app.before_request
    def refuse_other_bodies() -> None:
        # The server would have to wait for the end of a body without a length.
        if "Transfer-Encoding" in request.headers:
            abort(411)
        if request.method == "POST" and request.mimetype != FORM and not request.routing_exception:
            abort(415)

    @app.after_request
    def add_headers(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    app.register_error_handler(HTTPException, _plain_response)
    app.register_error_handler(Exception, _handle_exception)


def _handle_exception(_: Exception) -> Response:
    # Flask would log the path, which may be the secret address of a voice note.
    log.exception("Request failed", route=str(request.url_rule))
    return _plain_response(InternalServerError())


def _plain_response(error: HTTPException) -> Response:
    """The status as plain text, with the headers that belong to it, such as ``Allow``."""
    response = Response(status=error.code or 500)
    response.headers.extend(error.get_headers())
    response.set_data(f"{response.status}\n")
    response.content_type = "text/plain; charset=utf-8"
    return response
