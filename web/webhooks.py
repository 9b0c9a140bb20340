"""Twilio's webhooks: messages that come, and what became of those that were sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from flask import Flask, Response, request
from twilio.twiml.messaging_response import MessagingResponse

from core.errors import ForgedRequest, InboundError
from core.logs import SummaryLog, turn_context
from core.models import Inbound, Kind
from core.settings import Settings
from metrics import Metrics
from storage.quotas import DAY, Quotas
from turns.intake import Acceptance, Intake
from turns.notices import Notices
from turns.prewarming import Prewarmer
from turns.refusals import RefusalNotices
from web.forms import parse_form
from whatsapp.delivery_status import DeliveryStatuses
from whatsapp.inbound import parse_message
from whatsapp.signature import SIGNATURE, Signature
from whatsapp.status_callbacks import parse_status

log = structlog.get_logger(__name__)

# Fields by name, and what answers it.
Form = dict[str, str]
Answer = Callable[[Form], Response]

EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Webhooks:
    """What serves them."""

    settings: Settings
    metrics: Metrics
    intake: Intake
    quotas: Quotas
    refusals: RefusalNotices
    notices: Notices
    delivery_statuses: DeliveryStatuses
    # Only where this process runs the turns: elsewhere a turn begins as soon as a session could.
    prewarmer: Prewarmer | None

    def add_to(self, app: Flask) -> None:
        """Add ``POST /`` and ``POST /status``, which Twilio signs, and ``GET /``."""
        serve = self._door()

        @app.get("/")
        def alive() -> Response:
            # As plain text Twilio would send it to a user, were the webhook set to GET by mistake.
            return Response("OK", mimetype="text/html")

        @app.post("/")
        def webhook() -> Response:
            started = time.monotonic()

            def answer(form: Form) -> Response:
                message = parse_message(form, by_curl=self.settings.UNSIGNED_LOCAL_WEBHOOKS)
                taken = self._taken(message)
                self.metrics.record_time("ack_time", time.monotonic() - started)
                return Response(taken, mimetype="text/xml")

            return serve(answer)

        @app.post("/status")
        def status() -> Response:
            return serve(self._noted)

    def _door(self) -> Callable[[Answer], Response]:
        """What lets requests in that Twilio signed, and answers those that are not served."""
        settings = self.settings
        signature = Signature(
            auth_token=settings.TWILIO_AUTH_TOKEN,
            account_sid=settings.TWILIO_ACCOUNT_SID,
            public_url=settings.PUBLIC_URL,
            shared_key=settings.TWILIO_SHARED_KEY,
        )
        refused = SummaryLog("Webhook refused")

        def serve(answer: Answer) -> Response:
            try:
                fields = parse_form(request.get_data())
                _check_origin(signature, fields, unsigned=settings.UNSIGNED_LOCAL_WEBHOOKS)
                return answer(dict(fields))
            except InboundError as error:
                forged = isinstance(error, ForgedRequest)
                self.metrics.count("signatures_rejected" if forged else "messages_refused")
                refused.warn(str(error))
                return Response(status=403 if forged else 400)

        return serve

    def _taken(self, message: Inbound) -> str:
        """Hand a message in; returns the TwiML to answer with."""
        if message.sender == self.settings.TWILIO_WHATSAPP_FROM:
            return EMPTY_TWIML
        allowed = self.settings.ALLOWED_SENDERS
        if allowed and message.sender not in allowed:
            return self._limited(message, "not_allowed", DAY)
        acceptance = self.intake.accept(message)
        if acceptance is Acceptance.NEW:
            self.metrics.count("messages_received")
            self._prewarm(message)
        elif acceptance is Acceptance.DUPLICATE:
            self.metrics.count("messages_duplicate")
        elif acceptance is Acceptance.LIMITED and (quota := self.quotas.find_exceeded(message)):
            return self._limited(message, quota.phrase, quota.seconds)
        else:
            self.metrics.count("messages_refused")
            log.error("Inbox full; sender asked to come back")
            return _saying(self.notices.refusal(message, "busy"))
        return EMPTY_TWIML

    def _limited(self, message: Inbound, phrase: str, seconds: float) -> str:
        """The TwiML for a message that is not taken, which says so once in so many seconds."""
        self.metrics.count("messages_limited")
        with turn_context(message.sid, message.sender, key=self.settings.TWILIO_AUTH_TOKEN):
            log.info("Message not taken", reason=phrase)
        return _saying(self.refusals.line(message, phrase, seconds))

    def _prewarm(self, message: Inbound) -> None:
        """Start the session while the message waits for its turn, or its recording is heard."""
        if self.prewarmer is None or message.kind in (Kind.UNSUPPORTED, Kind.SILENT):
            return
        with turn_context(message.sid, message.sender, key=self.settings.TWILIO_AUTH_TOKEN):
            try:
                self.prewarmer.schedule(message.sender)
            except Exception:
                # The message is taken; its turn starts the session itself.
                log.exception("Session not pre-warmed")

    def _noted(self, form: Form) -> Response:
        """Write down what became of a message; a 503 shows up in Twilio's debugger."""
        taken = self.delivery_statuses.record(parse_status(request.args, form))
        return Response(status=204 if taken else 503)


def _check_origin(signature: Signature, fields: list[tuple[str, str]], *, unsigned: bool) -> None:
    """Raise ``ForgedRequest`` unless Twilio signed the request, or it is the sandbox's curl."""
    local = request.remote_addr in LOOPBACK and "X-Forwarded-For" not in request.headers
    if SIGNATURE not in request.headers and local and unsigned:
        signature.check_account(fields)
        return
    path, _, query = request.environ.get("RAW_URI", request.full_path).partition("?")
    signature.check(path, query, fields, request.headers)


def _saying(text: str | None) -> str:
    if text is None:
        return EMPTY_TWIML
    response = MessagingResponse()
    response.message(text)
    return str(response)
