"""The web service: the Flask application that gunicorn serves."""

from __future__ import annotations

from flask import Flask
from flask.json.provider import DefaultJSONProvider
from gunicorn.errors import AppImportError

from core.core_dumps import forbid_dumping
from core.errors import SettingsError
from core.logs import configure_logging
from core.process_limits import check_limits
from core.settings import Settings, load_settings
from services.processes import WebServices, build_web
from web.monitoring import add_monitoring
from web.security import add_security
from web.voice_notes import add_voice_notes
from web.webhooks import Webhooks


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask application, which runs no turns before it serves.

    Raises ``SettingsError`` where the environment is not complete.
    """
    try:
        return _build_app(settings or load_settings())
    except SettingsError as error:
        # The one error of which gunicorn shows the sentence alone, and gives up.
        raise StartRefused(str(error)) from error


class StartRefused(SettingsError, AppImportError):  # type: ignore[misc]  # gunicorn has no types
    """The service cannot start as it is set up."""


def _build_app(settings: Settings) -> Flask:
    configure_logging(level=settings.LOG_LEVEL, form=settings.LOG_FORMAT)
    check_limits(settings.TURN_THREADS)
    if not settings.DUMPABLE:
        forbid_dumping()
    parts = build_web(settings)
    app = Flask(__name__, static_folder=None, template_folder="web/dashboard")
    add_security(app, public_url=settings.PUBLIC_URL)
    app.json = _ReadableJson(app)
    app.extensions["bridge"] = parts
    # gunicorn.conf.py starts them before the first request; this is for other servers.
    app.before_request(parts.start)
    _add_routes(app, parts)
    return app


def _add_routes(app: Flask, parts: WebServices) -> None:
    base = parts.base
    Webhooks(
        settings=base.settings,
        metrics=base.metrics,
        intake=parts.intake,
        quotas=base.quotas,
        refusals=parts.refusals,
        notices=base.notices,
        delivery_statuses=base.delivery_statuses,
        prewarmer=base.prewarmer if parts.worker else None,
    ).add_to(app)
    add_voice_notes(app, base.outbound_messages)
    add_monitoring(
        app,
        settings=base.settings,
        metrics=base.metrics,
        health=base.health,
        snapshots=parts.snapshots,
        several=parts.shared is not None,
    )


class _ReadableJson(DefaultJSONProvider):
    """For people who read ``curl …/metrics``: the stages in their order, a line each."""

    sort_keys = False
    compact = False
    ensure_ascii = False
