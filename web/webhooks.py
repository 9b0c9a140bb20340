"""Twilio's webhooks: messages from users, and delivery statuses of our messages."""

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
from web.forms import parse_form
from web.setup_page import setup_page
from whatsapp.delivery_status import DeliveryStatuses
from whatsapp.inbound import CHANNEL, parse_message, read_recipient
from whatsapp.signature import SIGNATURE, Signature
from whatsapp.status_callbacks import parse_status

log = structlog.get_logger(__name__)

# The fields of a form in order, and by name; and a view that answers it.
Fields = list[tuple[str, str]]
Form = dict[str, str]
View = Callable[[Form], Response]

EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
LOOPBACK = ("127.0.0.1", "::1")
# What a router adds, and what a browser adds to the POST of a web page.
FOREIGN = {"X-Forwarded-For", "Origin"}

# Anybody may write to these numbers as often as they like, so only one line a minute is logged.
OTHER_CHANNELS = SummaryLog("The webhook is set on a number that is no WhatsApp sender")
OTHER_SENDERS = SummaryLog(
    "The webhook is set on a WhatsApp sender other than TWILIO_WHATSAPP_FROM"
)


@dataclass(frozen=True)
class Webhooks:
    """The views of ``POST /`` and ``POST /status``, with what they need."""

    settings: Settings
    metrics: Metrics
    intake: Intake
    quotas: Quotas
    notices: Notices
    delivery_statuses: DeliveryStatuses
    prewarmer: Prewarmer | None

    def add_to(self, app: Flask) -> None:
        """Add ``POST /`` and ``POST /status``, which Twilio must have signed, and ``GET /``."""
        answer_signed = self._signature_filter()

        @app.get("/")
        def alive() -> Response:
            if not self.settings.PUBLIC_URL:
                return setup_page()
            # HTML, because Twilio would send plain text to the user if the webhook were set to GET.
            return Response("OK", mimetype="text/html")

        @app.post("/")
        def webhook() -> Response:
            started = time.monotonic()

            def answer(form: Form) -> Response:
                message = parse_message(form, by_curl=self.settings.UNSIGNED_LOCAL_WEBHOOKS)
                twiml = self._accept(message, recipient=read_recipient(form))
                self.metrics.record_time("ack_time", time.monotonic() - started)
                return Response(twiml, mimetype="text/xml")

            return answer_signed(answer)

        @app.post("/status")
        def status() -> Response:
            return answer_signed(self._record_status)

    def _signature_filter(self) -> Callable[[View], Response]:
        """Returns a function that calls a view with the form if Twilio signed the request.

        Otherwise that function answers 403, or 400 to a malformed request.
        """
        settings = self.settings
        signature = Signature(
            auth_token=settings.TWILIO_AUTH_TOKEN,
            account_sid=settings.TWILIO_ACCOUNT_SID,
            public_url=settings.PUBLIC_URL,
            shared_key=settings.TWILIO_SHARED_KEY,
        )
        refusals = SummaryLog("Webhook refused")

        def answer_signed(view: View) -> Response:
            fields: Fields = []
            try:
                fields = parse_form(request.get_data())
                _check_origin(signature, fields, unsigned=settings.UNSIGNED_LOCAL_WEBHOOKS)
            except InboundError as error:
                self._count_refused(fields)
                refusals.warn(str(error))
                return Response(status=403 if isinstance(error, ForgedRequest) else 400)
            form = dict(fields)
            # The check after the start posts as the service itself, whatever Twilio's console has.
            if form.get("From") != settings.TWILIO_WHATSAPP_FROM:
                self.metrics.note("webhook accepted")
            try:
                return view(form)
            except InboundError as error:
                self.metrics.count("messages_refused")
                refusals.warn(str(error))
                return Response(status=400)

        return answer_signed

    def _count_refused(self, fields: Fields) -> None:
        """Count a request that Twilio did not sign for this service."""
        self.metrics.count("signatures_rejected")
        # Strangers do not know the account's SID, so this is Twilio with another address or token.
        if ("AccountSid", self.settings.TWILIO_ACCOUNT_SID) in fields:
            self.metrics.count("webhooks_refused")
            self.metrics.note("webhook refused")

    def _accept(self, message: Inbound, *, recipient: str) -> str:
        """Store a message for its turn; returns the TwiML that answers the webhook."""
        if self._is_ignored(message, recipient):
            return EMPTY_TWIML
        if not self._is_allowed(message):
            return self._refuse(message, "not_allowed", DAY)
        acceptance = self.intake.accept(message)
        if acceptance is Acceptance.NEW:
            self.metrics.count("messages_received")
            self.metrics.note("message received")
            self._prewarm(message)
        elif acceptance is Acceptance.DUPLICATE:
            self.metrics.count("messages_duplicate")
        elif acceptance is Acceptance.LIMITED and (quota := self.quotas.find_exceeded(message)):
            self.metrics.count_label("limits", quota.phrase)
            return self._refuse(message, quota.phrase, quota.seconds)
        else:
            phrase = "failed"
            if acceptance is Acceptance.FULL:
                phrase = "busy"
                self.metrics.count_label("limits", "inbox")
                log.error("Inbox full; sender asked to send the message again later")
            self.metrics.count("messages_refused")
            return self._twiml(self.notices.refusal(message, phrase))
        return EMPTY_TWIML

    def _is_ignored(self, message: Inbound, recipient: str) -> bool:
        """Whether a message gets no answer: none is expected, or none could be delivered."""
        ours = self.settings.TWILIO_WHATSAPP_FROM
        if message.reply_address == ours:
            return True
        if not message.reply_address.startswith(CHANNEL):
            self.metrics.count("messages_refused")
            OTHER_CHANNELS.warn("remove it there; it is for the WhatsApp sender only")
            return True
        if recipient not in ("", ours):
            # Its user has not written to TWILIO_WHATSAPP_FROM, which therefore may not answer.
            self.metrics.count("messages_refused")
            OTHER_SENDERS.warn("remove it there, or set TWILIO_WHATSAPP_FROM to that sender")
            return True
        if message.kind is Kind.SILENT:
            log.info("Nothing to answer")
            return True
        return False

    def _is_allowed(self, message: Inbound) -> bool:
        """Whether ALLOWED_SENDERS has the sender's phone number or Twilio's id of the user."""
        allowed = self.settings.ALLOWED_SENDERS
        return not allowed or message.reply_address in allowed or message.sender in allowed

    def _refuse(self, message: Inbound, phrase: str, seconds: float) -> str:
        """The TwiML for a message that is not accepted; it gives the reason once in ``seconds``."""
        self.metrics.count("messages_limited")
        with turn_context(message.sid, message.sender, key=self.settings.TWILIO_AUTH_TOKEN):
            log.info("Message not accepted", reason=phrase)
        return self._twiml(self.notices.refusal_once(message, phrase, seconds))

    def _twiml(self, text: str | None) -> str:
        """TwiML that sends the text, or nothing."""
        if text is None:
            return EMPTY_TWIML
        self.metrics.count("messages_sent")
        response = MessagingResponse()
        response.message(text)
        return str(response)

    def _prewarm(self, message: Inbound) -> None:
        """Start the session while the message waits for its turn."""
        if self.prewarmer is None or message.kind is Kind.UNSUPPORTED:
            return
        with turn_context(message.sid, message.sender, key=self.settings.TWILIO_AUTH_TOKEN):
            try:
                self.prewarmer.schedule(message.sender)
            except Exception:
                # The message is stored, and its turn will start the session itself.
                log.exception("Session not pre-warmed")

    def _record_status(self, form: Form) -> Response:
        """Store a delivery status. If that fails, 503 shows up as an error in Twilio's debugger."""
        self.metrics.note("status received")
        recorded = self.delivery_statuses.record(parse_status(request.args, form))
        return Response(status=204 if recorded else 503)


def _check_origin(signature: Signature, fields: Fields, *, unsigned: bool) -> None:
    """Raise ``ForgedRequest`` unless Twilio signed the request.

    With ``unsigned``, requests from this machine need no signature.
    """
    local = request.remote_addr in LOOPBACK and not FOREIGN & {*request.headers.keys()}
    if SIGNATURE not in request.headers and local and unsigned:
        signature.check_account(fields)
        return
    path, _, query = request.environ.get("RAW_URI", request.full_path).partition("?")
    signature.check(path, query, fields, request.headers)
