"""What every request and every answer goes through, whatever it is for."""

from __future__ import annotations

import structlog
from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException, InternalServerError

from web.request_limits import BODY_LIMIT, RequestLimits

log = structlog.get_logger(__name__)

FORM = "application/x-www-form-urlencoded"
# Unless an answer says otherwise itself.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Browsers take it over https only.
STRICT_TRANSPORT = "max-age=31536000"


def add_security(app: Flask, *, public_url: str) -> None:
    """Let in forms of a bounded size only, and let answers reveal and allow nothing needless."""
    app.wsgi_app = RequestLimits(app.wsgi_app)  # type: ignore[method-assign]
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    headers = HEADERS | (
        {"Strict-Transport-Security": STRICT_TRANSPORT} if public_url.startswith("https:") else {}
    )

    @app.before_request
    def take_one_form_of_each_address() -> None:
        # Werkzeug takes "//status" for "/status".
        if request.environ.get("PATH_INFO", "").startswith("//"):
            abort(404)

    @app.before_request
    def take_forms_only() -> None:
        # A body whose length nobody knows would be waited for.
        if "Transfer-Encoding" in request.headers:
            abort(411)
        if request.method == "POST" and request.mimetype != FORM and not request.routing_exception:
            abort(415)

    @app.after_request
    def add_headers(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    app.register_error_handler(HTTPException, _plain)
    app.register_error_handler(Exception, _unexpected)


def _unexpected(_: Exception) -> Response:
    # Flask itself would log the path, which names voice notes.
    log.exception("Request failed", route=str(request.url_rule))
    return _plain(InternalServerError())


def _plain(error: HTTPException) -> Response:
    """The status in words; what it calls for (``Allow`` and the like) stays."""
    response = Response(status=error.code or 500)
    response.headers.extend(error.get_headers())
    response.set_data(f"{response.status}\n")
    response.content_type = "text/plain; charset=utf-8"
    return response
