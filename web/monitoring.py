"""What operators look at: the figures, the dashboard, and whether messages get answered."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Any

import structlog
from flask import Flask, Response, abort, redirect, render_template, request
from werkzeug.datastructures import WWWAuthenticate

from core.errors import BridgeError
from core.settings import Settings, is_public_url
from metrics import Metrics, MetricsSnapshot
from turns.health import Health
from web.prometheus import CONTENT_TYPE, prometheus
from whatsapp.error_codes import ADVICE

log = structlog.get_logger(__name__)

# For operators with curl, a browser or a scraper alike.
CLOSED = (
    "Set METRICS_TOKEN to open this page at a public address, and send it as the password or as "
    "the header Authorization: Bearer.\n"
)
# The page's own style and script, and what it reads; nothing else, from nowhere else.
POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_monitoring(
    app: Flask,
    *,
    settings: Settings,
    metrics: Metrics,
    health: Health,
    snapshots: Callable[[], dict[str, MetricsSnapshot]],
    several: bool,
) -> None:
    """Add ``/metrics`` and ``/dashboard``, behind ``METRICS_TOKEN``, and ``/health``.

    ``figures`` gives those of all processes, by process, of which there are ``several``.
    """
    if _is_closed(settings):
        log.warning("/metrics and /dashboard are closed; set METRICS_TOKEN to open them")

    @app.get("/metrics")
    def show_metrics() -> Response | dict[str, object]:
        _check_token(settings)
        found = snapshots()
        if _wants_prometheus():
            return Response(prometheus(found), content_type=CONTENT_TYPE)
        return MetricsSnapshot.merged(found.values()).report(metrics.uptime())

    @app.get("/dashboard")
    def show_dashboard() -> Any:
        if _came_in_clear(settings):
            # Before the browser asks for the password.
            return redirect(f"{settings.PUBLIC_URL}/dashboard", 308)
        _check_token(settings)
        nonce = secrets.token_urlsafe(16)
        page = render_template(
            "dashboard.html",
            nonce=nonce,
            advice=advice() | {str(code): words for code, words in ADVICE.items()},
            several=several,
            release=settings.RELEASE,
        )
        return page, {"Content-Security-Policy": POLICY.format(nonce=nonce)}

    @app.get("/health")
    def show_health() -> tuple[dict[str, object], int]:
        report = health.check()
        return report.to_json(), 200 if report.healthy else 503


def advice(tree: type[BridgeError] = BridgeError) -> dict[str, str]:
    """What to do about each error of the tree, by the name of its class."""
    found = {tree.__name__: tree.advice}
    for branch in tree.__subclasses__():
        found |= advice(branch)
    return found


def _came_in_clear(settings: Settings) -> bool:
    """Whether a router in front of the service says so, while the service is to be had by https."""
    clear = request.headers.get("X-Forwarded-Proto") == "http"
    return clear and settings.PUBLIC_URL.startswith("https:")


def _is_closed(settings: Settings) -> bool:
    """Whether nobody may see the figures, because everybody could."""
    return not settings.METRICS_TOKEN and is_public_url(settings.PUBLIC_URL)


def _check_token(settings: Settings) -> None:
    """Answer 401 unless the request brings the token, as ``Bearer`` or as a browser's password.

    Without a token figures are for this machine only: 403 where the service has a public address.
    """
    if _is_closed(settings):
        abort(Response(CLOSED, 403, mimetype="text/plain"))
    token = settings.METRICS_TOKEN
    given = request.authorization
    brought = (given.token or given.password or "") if given else ""
    if token and not hmac.compare_digest(brought.encode(), token.encode()):
        asked = WWWAuthenticate("basic", {"realm": "WhatsApp bridge", "charset": "UTF-8"})
        abort(401, www_authenticate=asked)


def _wants_prometheus() -> bool:
    """Whether the request asks for text rather than JSON; ``*/*``, as curl sends, does not."""
    if "format" in request.args:
        return request.args["format"] == "prometheus"
    accepted = request.accept_mimetypes
    scraped = ("text/plain", "application/openmetrics-text")
    text = max((quality for mime, quality in accepted if mime.startswith(scraped)), default=0)
    return bool(text > accepted["application/json"])
