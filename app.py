"""The web service: Twilio's webhook, and the voice notes it fetches."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from flask import Flask, Response, abort, request
from flask.json.provider import DefaultJSONProvider
from gunicorn.errors import AppImportError
from twilio.twiml.messaging_response import MessagingResponse

from base import Base
from doors import guard
from dumping import forbid_dumping
from errors import ForgedRequest, InboundError, SettingsError
from forms import parse_form
from inbound import Inbound, Kind, read_message
from inbox import Acceptance
from logs import SummaryLog, bound_to, configure_logging
from operators import add_operators
from parts import WebParts, build_web
from process_limits import check_limits
from quotas import DAY
from sendings import MP3, OGG, TOKEN
from settings import Settings, load_settings
from signature import SIGNATURE, Signature
from status import Status, read_status

log = structlog.get_logger(__name__)

# Fields by name, and what answers it.
Form = dict[str, str]
Answer = Callable[[Form], Response]

EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
LOOPBACK = ("127.0.0.1", "::1")


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
    app = Flask(__name__, static_folder=None, template_folder="pages")
    guard(app, public_url=settings.PUBLIC_URL)
    app.json = _ReadableJson(app)
    app.extensions["bridge"] = parts
    # gunicorn.conf.py starts them before the first request; this is for other servers.
    app.before_request(parts.start)
    _add_webhooks(app, parts)
    _add_voice_notes(app, parts)
    add_operators(app, parts)
    return app


class _ReadableJson(DefaultJSONProvider):
    """For people who read ``curl …/metrics``: the stages in their order, a line each."""

    sort_keys = False
    compact = False
    ensure_ascii = False


def _add_webhooks(app: Flask, parts: WebParts) -> None:
    metrics, settings = parts.base.metrics, parts.base.settings
    signature = Signature(
        auth_token=settings.TWILIO_AUTH_TOKEN,
        account_sid=settings.TWILIO_ACCOUNT_SID,
        public_url=settings.PUBLIC_URL,
        shared_key=settings.TWILIO_SHARED_KEY,
    )
    serve = _door(parts, signature)

    @app.get("/")
    def alive() -> Response:
        # As plain text Twilio would send it to a user, were the webhook set to GET by mistake.
        return Response("OK", mimetype="text/html")

    @app.post("/")
    def webhook() -> Response:
        started = time.monotonic()

        def answer(form: Form) -> Response:
            message = read_message(form, by_curl=settings.UNSIGNED_LOCAL_WEBHOOKS)
            taken = _taken(parts, message)
            metrics.time("ack_time", time.monotonic() - started)
            return Response(taken, mimetype="text/xml")

        return serve(answer)

    @app.post("/status")
    def status() -> Response:
        return serve(lambda form: _noted(parts, read_status(request.args, form)))


def _door(parts: WebParts, signature: Signature) -> Callable[[Answer], Response]:
    """What lets requests in that Twilio signed, and answers those that are not served."""
    settings, metrics = parts.base.settings, parts.base.metrics
    refused = SummaryLog("Webhook refused")

    def serve(answer: Answer) -> Response:
        try:
            fields = parse_form(request.get_data())
            _check_origin(signature, fields, unsigned=settings.UNSIGNED_LOCAL_WEBHOOKS)
            return answer(dict(fields))
        except InboundError as error:
            forged = isinstance(error, ForgedRequest)
            metrics.count("signatures_rejected" if forged else "messages_refused")
            refused.warn(str(error))
            return Response(status=403 if forged else 400)

    return serve


def _check_origin(signature: Signature, fields: list[tuple[str, str]], *, unsigned: bool) -> None:
    """Raise ``ForgedRequest`` unless Twilio signed the request, or it is the sandbox's curl."""
    local = request.remote_addr in LOOPBACK and "X-Forwarded-For" not in request.headers
    if SIGNATURE not in request.headers and local and unsigned:
        signature.check_account(fields)
        return
    path, _, query = request.environ.get("RAW_URI", request.full_path).partition("?")
    signature.check(path, query, fields, request.headers)


def _taken(parts: WebParts, message: Inbound) -> str:
    """Hand a message in; returns the TwiML to answer with."""
    base = parts.base
    if message.sender == base.settings.TWILIO_WHATSAPP_FROM:
        return EMPTY_TWIML
    allowed = base.settings.ALLOWED_SENDERS
    if allowed and message.sender not in allowed:
        return _limited(parts, message, "not_allowed", DAY)
    acceptance = parts.inbox.accept(message)
    if acceptance is Acceptance.NEW:
        base.metrics.count("messages_received")
        _prewarm(parts, message)
    elif acceptance is Acceptance.DUPLICATE:
        base.metrics.count("messages_duplicate")
    elif acceptance is Acceptance.LIMITED and (quota := base.quotas.exceeded(message)):
        return _limited(parts, message, quota.phrase, quota.seconds)
    else:
        base.metrics.count("messages_refused")
        log.error("Inbox full; sender asked to come back")
        return _saying(base.replies.refusal(message, "busy"))
    return EMPTY_TWIML


def _limited(parts: WebParts, message: Inbound, phrase: str, seconds: float) -> str:
    """The TwiML for a message that is not taken, which says so once in so many seconds."""
    parts.base.metrics.count("messages_limited")
    with bound_to(message.sid, message.sender, key=parts.base.settings.TWILIO_AUTH_TOKEN):
        log.info("Message not taken", reason=phrase)
    return _saying(parts.refusals.line(message, phrase, seconds))


def _saying(text: str | None) -> str:
    if text is None:
        return EMPTY_TWIML
    response = MessagingResponse()
    response.message(text)
    return str(response)


def _noted(parts: WebParts, status: Status) -> Response:
    """Write down what became of a message; a 503 shows up in Twilio's debugger."""
    return Response(status=204 if parts.base.receipts.take(status) else 503)


def _prewarm(parts: WebParts, message: Inbound) -> None:
    """Start the session while the message waits for its turn, or its recording is heard."""
    if message.kind in (Kind.UNSUPPORTED, Kind.SILENT):
        return
    with bound_to(message.sid, message.sender, key=parts.base.settings.TWILIO_AUTH_TOKEN):
        try:
            parts.base.aside.submit(_start_session, parts.base, message.sender)
        except Exception:
            # The message is taken; its turn starts the session itself.
            log.exception("Session not pre-warmed")


def _start_session(base: Base, sender: str) -> None:
    """Where all threads run turns, those need the CPU and Agentforce's places."""
    threads = base.settings.TURN_THREADS
    try:
        if base.store.count_unfinished(limit=threads + 1) <= threads:
            log.info("Pre-warming Agentforce session")
            base.prewarmer.start(sender)
    except Exception:
        log.exception("Session not pre-warmed")


def _add_voice_notes(app: Flask, parts: WebParts) -> None:
    @app.get("/media/<token>.<any(ogg, mp3):extension>")
    def voice_note(token: str, extension: str) -> Response:
        if not TOKEN.fullmatch(token):
            abort(404)
        media_type = MP3 if extension == "mp3" else OGG
        note = parts.base.sendings.note(token, media_type)
        if note is None:
            abort(404)
        response = Response(note, content_type=media_type)
        response.headers["Cache-Control"] = "private, no-store"
        response.headers["Content-Disposition"] = f"inline; filename=answer.{extension}"
        # Twilio asks for all of it; players, and caches in between, may ask for parts.
        response.make_conditional(request, accept_ranges=True, complete_length=len(note))
        return response
