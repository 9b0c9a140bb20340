"""The pages for operators: metrics, dashboard and health."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import structlog
from flask import Blueprint, Flask, Response, abort, redirect, request
from werkzeug.datastructures import WWWAuthenticate

from core.settings import Settings, is_public_url
from metrics import Metrics, MetricsSnapshot
from storage.database import StorageError
from turns.health import Health
from web.handbook import DASHBOARD, handbook_page
from web.history import WINDOWS, History
from web.pages import render_page
from web.prometheus import CONTENT_TYPE, prometheus
from web.setup_page import setup_page
from web.state import State

log = structlog.get_logger(__name__)

CLOSED = (
    "Set METRICS_TOKEN to open this page at a public address, and send it as the password or as "
    "the header Authorization: Bearer.\n"
)


def add_monitoring(
    app: Flask,
    *,
    settings: Settings,
    metrics: Metrics,
    health: Health,
    snapshots: Callable[[], dict[str, MetricsSnapshot]],
    checked: Callable[[], dict[str, object] | None],
    state: State,
    history: History,
) -> None:
    """Add ``/metrics`` and ``/dashboard…``, which need ``METRICS_TOKEN``, and ``/health``.

    ``snapshots`` returns the metrics of all processes by their names. ``checked`` returns what the
    check after the start has found.
    """
    if _is_closed(settings):
        log.warning("/metrics and /dashboard are closed; set METRICS_TOKEN to open them")

    @app.get("/metrics")
    def show_metrics() -> Response | dict[str, object]:
        _check_token(settings)
        by_process = snapshots()
        if _wants_prometheus():
            text = prometheus(by_process, health=health.check(), release=settings.RELEASE)
            return Response(text, content_type=CONTENT_TYPE)
        return MetricsSnapshot.merged(by_process.values()).report(metrics.uptime())

    app.register_blueprint(_dashboard(settings, state, history))

    @app.get("/health")
    def show_health() -> tuple[dict[str, object], int]:
        report = health.check()
        return report.to_json() | {"check": checked()}, 200 if report.healthy else 503


def _dashboard(settings: Settings, state: State, history: History) -> Blueprint:
    """The page, what it reads, and the documents that it links to."""
    pages = Blueprint("dashboard", __name__, url_prefix=DASHBOARD)

    @pages.before_request
    def protect() -> Any:
        if not settings.PUBLIC_URL:
            return setup_page()
        if _is_unencrypted(settings):
            # Before the browser sends the password.
            return redirect(f"{settings.PUBLIC_URL}{request.path}", 308)
        _check_token(settings)
        return None

    @pages.get("")
    def show_page() -> Response:
        return render_page("dashboard.html", release=settings.RELEASE)

    @pages.get("/docs/<name>.md")
    def show_handbook(name: str) -> Response:
        return handbook_page(name)

    @pages.get("/state")
    def show_state() -> dict[str, object]:
        return state.report()

    @pages.get("/history")
    def show_history() -> dict[str, object]:
        window = request.args.get("window", "hour")
        if window not in WINDOWS:
            abort(400)
        try:
            return history.report(window)
        except StorageError:
            # The page shows what it has, and its state says why.
            abort(503)

    return pages


def _is_unencrypted(settings: Settings) -> bool:
    """Whether the router in front reports plain HTTP, although the public address is https."""
    is_http = request.headers.get("X-Forwarded-Proto") == "http"
    return is_http and settings.PUBLIC_URL.startswith("https:")


def _is_closed(settings: Settings) -> bool:
    """Whether nobody may see the metrics: the address is public, and there is no token."""
    return not settings.METRICS_TOKEN and is_public_url(settings.PUBLIC_URL)


def _check_token(settings: Settings) -> None:
    """Answer 401 unless the request has the token, as ``Bearer`` or as the password.

    If METRICS_TOKEN is not set, answer 403 at a public address, and accept all requests otherwise.
    """
    if _is_closed(settings):
        abort(Response(CLOSED, 403, mimetype="text/plain"))
    token = settings.METRICS_TOKEN
    authorization = request.authorization
    given = (authorization.token or authorization.password or "") if authorization else ""
    if token and not hmac.compare_digest(given.encode(), token.encode()):
        challenge = WWWAuthenticate("basic", {"realm": "WhatsApp bridge", "charset": "UTF-8"})
        abort(401, www_authenticate=challenge)


def _wants_prometheus() -> bool:
    """Whether the request prefers text to JSON. ``*/*``, which curl sends, means JSON."""
    if "format" in request.args:
        return request.args["format"] == "prometheus"
    accepted = request.accept_mimetypes
    text_types = ("text/plain", "application/openmetrics-text")
    text = max((quality for mime, quality in accepted if mime.startswith(text_types)), default=0)
    return bool(text > accepted["application/json"])
