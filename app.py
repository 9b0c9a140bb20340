"""The web service: Twilio's webhook, the voice notes it fetches, and what operators look at."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from typing import IO

import structlog
from flask import Flask, Response, abort, request
from flask.json.provider import DefaultJSONProvider
from twilio.twiml.messaging_response import MessagingResponse

from access_token import AccessToken
from agentforce import Agentforce
from audio import Ffmpeg
from connections import requests_session
from conversation import Conversation
from database import hold, open_database
from delivery import Delivery
from errors import ForgedRequest, InboundError
from health import Health
from housekeeping import Housekeeper
from inbound import Inbound, read_message
from inbox import Acceptance, Inbox
from logs import ContextPool, configure_logging
from media import Media
from metrics import Metrics
from narration import Narrator
from phrases import Phrases
from settings import Settings, load_settings
from signature import SIGNATURE, Signature
from speech import Speech
from store import Store, StoreError
from whatsapp import WhatsApp

log = structlog.get_logger(__name__)

# Twilio's forms are a few KB; a user's longest text fits many times.
BODY_LIMIT = 256 * 1024
EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Parts:
    """The parts that the web service talks to."""

    settings: Settings
    held: IO[str]
    metrics: Metrics
    store: Store
    phrases: Phrases
    inbox: Inbox
    housekeeper: Housekeeper
    signature: Signature
    health: Health


def build(settings: Settings) -> Parts:
    """Make all parts and hand them to each other."""
    threads = settings.TURN_THREADS
    # Two processes would both take up what a third one left.
    held = hold(settings.STATE_DIR)
    metrics = Metrics()
    phrases = Phrases(default=settings.DEFAULT_LANGUAGE)
    store = Store(engine=open_database(settings.STATE_DIR), note_lifetime=settings.MEDIA_LIFETIME)
    ffmpeg = Ffmpeg(path=settings.FFMPEG_PATH, longest_seconds=settings.VOICE_NOTE_MAX_SECONDS)
    speech = Speech(settings=settings, ffmpeg=ffmpeg, metrics=metrics, width=threads)
    aside = ContextPool(threads * 2, thread_name_prefix="aside")
    agent = _agent(settings, store, metrics)
    whatsapp = WhatsApp(settings=settings, metrics=metrics, width=threads)
    conversation = Conversation(
        whatsapp=whatsapp,
        delivery=Delivery(whatsapp=whatsapp, store=store, metrics=metrics),
        agent=agent,
        media=Media(
            session=requests_session(settings, width=threads),
            api_url=settings.TWILIO_API_URL,
            account_sid=settings.TWILIO_ACCOUNT_SID,
            auth_token=settings.TWILIO_AUTH_TOKEN,
            media_hosts=settings.TWILIO_MEDIA_HOSTS,
        ),
        ffmpeg=ffmpeg,
        speech=speech,
        narrator=Narrator(
            speech=speech,
            ffmpeg=ffmpeg,
            phrases=phrases,
            pool=aside,
            longest=settings.SPEECH_MAX_CHARACTERS,
        ),
        phrases=phrases,
        store=store,
        metrics=metrics,
        settings=settings,
        answers=ContextPool(threads, thread_name_prefix="answer"),
        aside=aside,
    )
    return Parts(
        settings=settings,
        held=held,
        metrics=metrics,
        store=store,
        phrases=phrases,
        inbox=Inbox(
            store=store,
            run=conversation.run,
            pool=ContextPool(threads, thread_name_prefix="turn"),
            phrases=phrases,
            limit=settings.INBOX_LIMIT,
        ),
        housekeeper=Housekeeper(
            store=store,
            agent=agent,
            retention=settings.RETENTION_HOURS * 3600,
            session_idle=settings.AGENTFORCE_SESSION_IDLE,
        ),
        signature=Signature(
            auth_token=settings.TWILIO_AUTH_TOKEN,
            account_sid=settings.TWILIO_ACCOUNT_SID,
            public_url=settings.PUBLIC_URL,
        ),
        # This process is its own worker.
        health=Health(backlog=store.backlog, workers=lambda: 1),
    )


def _agent(settings: Settings, store: Store, metrics: Metrics) -> Agentforce:
    session = requests_session(settings, width=settings.TURN_THREADS)
    token = AccessToken(session=session, settings=settings, metrics=metrics)
    return Agentforce(session=session, token=token, store=store, metrics=metrics, settings=settings)


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask application. Raises ``SettingsError`` where the environment is not complete."""
    settings = settings or load_settings()
    configure_logging(level=settings.LOG_LEVEL, form=settings.LOG_FORMAT)
    parts = build(settings)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    app.config["MAX_FORM_MEMORY_SIZE"] = BODY_LIMIT
    app.json = _ReadableJson(app)
    app.extensions["bridge"] = parts
    resumed = parts.inbox.recover()
    if resumed:
        log.info("Taking up turns that a former process left", turns=resumed)
    parts.housekeeper.start()
    _add_webhook(app, parts)
    _add_voice_notes(app, parts)
    _add_metrics(app, parts)
    _add_health(app, parts)
    return app


class _ReadableJson(DefaultJSONProvider):
    """For people who read ``curl …/metrics``: the stages in their order, a line each."""

    sort_keys = False
    compact = False
    ensure_ascii = False


def _add_webhook(app: Flask, parts: Parts) -> None:
    @app.get("/")
    def alive() -> Response:
        # As plain text Twilio would send it to a user, were the webhook set to GET by mistake.
        return Response("OK", mimetype="text/html")

    @app.post("/")
    def webhook() -> Response:
        started = time.monotonic()
        try:
            _check_origin(parts)
            message = read_message(request.form)
        except InboundError as error:
            forged = isinstance(error, ForgedRequest)
            parts.metrics.count("signatures_rejected" if forged else "messages_refused")
            log.warning("Webhook refused", error=str(error))
            return Response(status=403 if forged else 400)
        answer = _taken(parts, message)
        parts.metrics.time("ack_time", time.monotonic() - started)
        return Response(answer, mimetype="text/xml")


def _check_origin(parts: Parts) -> None:
    """Raise ``ForgedRequest`` unless Twilio signed the request, or it is the sandbox's curl."""
    local = request.remote_addr in LOOPBACK and "X-Forwarded-For" not in request.headers
    if SIGNATURE not in request.headers and local and parts.settings.UNSIGNED_LOCAL_WEBHOOKS:
        parts.signature.check_account(request.form)
        return
    path, _, query = request.environ.get("RAW_URI", request.full_path).partition("?")
    parts.signature.check(path, query, request.form, request.headers)


def _taken(parts: Parts, message: Inbound) -> str:
    """Hand a message in; returns the TwiML to answer with."""
    if message.sender == parts.settings.TWILIO_WHATSAPP_FROM:
        return EMPTY_TWIML
    acceptance = parts.inbox.accept(message)
    if acceptance is Acceptance.DUPLICATE:
        parts.metrics.count("messages_duplicate")
    elif acceptance is Acceptance.FULL:
        parts.metrics.count("messages_refused")
        log.error("Inbox full; sender asked to come back")
        refusal = MessagingResponse()
        refusal.message(parts.phrases.say("busy", _language(parts, message.sender)))
        return str(refusal)
    else:
        parts.metrics.count("messages_received")
    return EMPTY_TWIML


def _language(parts: Parts, sender: str) -> str | None:
    """What the sender used last; unknown where the database that fails is why we refuse."""
    try:
        return parts.store.preferences(sender).language
    except StoreError:
        return None


def _add_voice_notes(app: Flask, parts: Parts) -> None:
    @app.get("/media/<token>.ogg")
    def voice_note(token: str) -> Response:
        note = parts.store.note(token)
        if note is None:
            abort(404)
        return Response(
            note,
            content_type="audio/ogg",
            headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"},
        )


def _add_metrics(app: Flask, parts: Parts) -> None:
    @app.get("/metrics")
    def metrics() -> Response | dict[str, object]:
        token = parts.settings.METRICS_TOKEN
        if token and not _authorised(token):
            return Response(status=401, headers={"WWW-Authenticate": 'Basic realm="metrics"'})
        if _wants_prometheus():
            return Response(
                parts.metrics.prometheus(), content_type="text/plain; version=0.0.4; charset=utf-8"
            )
        return parts.metrics.report()


def _add_health(app: Flask, parts: Parts) -> None:
    @app.get("/health")
    def health() -> tuple[dict[str, object], int, dict[str, str]]:
        report = parts.health.check()
        return report.to_json(), 200 if report.healthy else 503, {"Cache-Control": "no-store"}


def _wants_prometheus() -> bool:
    """Whether the request asks for text rather than JSON; ``*/*``, as curl sends, does not."""
    if "format" in request.args:
        return request.args["format"] == "prometheus"
    accepted = request.accept_mimetypes
    scraped = ("text/plain", "application/openmetrics-text")
    text = max((quality for mime, quality in accepted if mime.startswith(scraped)), default=0)
    return bool(text > accepted["application/json"])


def _authorised(token: str) -> bool:
    """Whether the request brings the token, as ``Bearer`` or as a browser's password."""
    given = request.authorization
    brought = (given.token or given.password or "") if given else ""
    return hmac.compare_digest(brought.encode(), token.encode())
