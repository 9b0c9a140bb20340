"""The web service: the Flask application that gunicorn serves."""

from __future__ import annotations

import click
from flask import Flask
from flask.cli import FlaskGroup
from flask.json.provider import DefaultJSONProvider
from gunicorn.errors import AppImportError

from cli.check import check
from cli.say import say
from core.errors import SettingsError
from core.logs import configure_logging
from core.settings import Settings, load_settings
from core.startup import prepare_process
from services import Role, Services, build_web
from web.monitoring import add_monitoring
from web.security import add_security
from web.voice_notes import add_voice_notes
from web.webhooks import Webhooks


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask application; it runs no turns before it serves requests.

    Raises ``SettingsError`` if a setting is missing or wrong.
    """
    if _is_looked_up():
        return _commands()
    try:
        return _build_app(settings or load_settings())
    except SettingsError as error:
        # For this error gunicorn prints the message without a traceback, and does not try again.
        raise StartRefused(f"Cannot start: {error}.") from error


def _is_looked_up() -> bool:
    """Whether the program ``flask`` asks for the app only to find its commands."""
    context = click.get_current_context(silent=True)
    return context is not None and isinstance(context.command, FlaskGroup)


def _commands() -> Flask:
    """An app with our commands and nothing else.

    They work where the service cannot start, and beside one that runs and has locked its files.
    """
    # Commands print what is wrong themselves.
    configure_logging(level="ERROR", form="text")
    app = Flask(__name__, static_folder=None)
    app.cli.add_command(check)
    app.cli.add_command(say)
    return app


class StartRefused(SettingsError, AppImportError):  # type: ignore[misc]  # gunicorn has no types
    """The service cannot start with these settings."""


def _build_app(settings: Settings) -> Flask:
    prepare_process(settings)
    services = build_web(settings)
    app = Flask(__name__, static_folder=None, template_folder="web/dashboard")
    add_security(app, public_url=settings.PUBLIC_URL, only_local=settings.UNSIGNED_LOCAL_WEBHOOKS)
    app.json = _ReadableJson(app)
    app.extensions["bridge"] = services
    # gunicorn.conf.py does this before the first request; other servers do it here.
    app.before_request(services.start)
    _add_routes(app, services)
    return app


def _add_routes(app: Flask, services: Services) -> None:
    Webhooks(
        settings=services.settings,
        metrics=services.metrics,
        intake=services.intake,
        quotas=services.storage.quotas,
        notices=services.notices,
        delivery_statuses=services.delivery_statuses,
        # With workers nothing would be gained: they begin the turn as soon as this could.
        prewarmer=services.prewarmer if services.role is Role.SINGLE else None,
    ).add_to(app)
    add_voice_notes(app, services.storage.outbound_messages)
    add_monitoring(
        app,
        settings=services.settings,
        metrics=services.metrics,
        health=services.health,
        snapshots=services.snapshots,
        checked=services.checks.to_json,
        state=services.state,
        history=services.history,
    )


class _ReadableJson(DefaultJSONProvider):
    """JSON for people who read ``curl …/metrics``: the stages in their order, one on each line."""

    sort_keys = False
    compact = False
    ensure_ascii = False
