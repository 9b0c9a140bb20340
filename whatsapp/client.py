"""Twilio: sending text, voice notes and the typing indicator (docs/providers/twilio.md)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast

import requests
import structlog
from twilio.base.exceptions import TwilioException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client
from twilio.rest.api.v2010.account.message import MessageInstance

from core.errors import SendBusy, SendRefused, SendUncertain, SendUnreachable
from core.settings import Settings
from http_clients.bodies import UNREADABLE, limit_answer_time
from http_clients.concurrency import ConcurrencyLimiter
from http_clients.retries import retrying
from http_clients.routes import Route
from http_clients.sessions import requests_session
from http_clients.unsent_requests import request_was_not_sent
from metrics import Metrics

T = TypeVar("T")

log = structlog.get_logger(__name__)

SEND_TIMEOUT = 10.0
TYPING_TIMEOUT = 3.0
# 429 is documented as never processed, so waiting is all it takes
# (docs/providers/twilio.md, "Error codes").
RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)
# How long Twilio may need to list a message whose acceptance we did not hear of.
LISTING_DELAY = 1.0
LISTED = 20
CLOCK_SKEW = timedelta(seconds=2)

CHANNEL = "whatsapp:"

_INBOUND_SID = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")


class WhatsApp:
    """Our WhatsApp sender at Twilio.

    ``width`` threads may send at once, and ``typing_width`` show the typing indicator.
    """

    def __init__(
        self, *, settings: Settings, metrics: Metrics, width: int, typing_width: int
    ) -> None:
        self._sender = settings.TWILIO_WHATSAPP_FROM
        self._public_url = settings.PUBLIC_URL
        self._metrics = metrics
        self._patience = settings.PROVIDER_TIMEOUT_FACTOR
        # Twilio documents no number; its refusals (20429) teach one.
        self._limiter = ConcurrencyLimiter(width, provider="Twilio")
        sending = requests_session(settings, width=width)
        typing = requests_session(settings, width=typing_width)
        self._client = _client(settings, SEND_TIMEOUT, sending)
        self._typing = _client(settings, TYPING_TIMEOUT, typing)
        self._routes = [
            Route(sending, settings.TWILIO_API_URL),
            Route(typing, settings.TWILIO_MESSAGING_URL),
        ]
        # Importing these takes 80 ms; better now than in the first turn.
        self._messages = self._client.messages
        self._indicator = self._typing.messaging.v2.typing_indicator

    def routes(self) -> list[Route]:
        """What is worth keeping open."""
        return self._routes

    def send_text(self, to: str, text: str, *, callback: str) -> str:
        """Send one message of at most 1600 characters; returns its SID. Raises ``SendError``.

        ``callback`` is the name by which Twilio tells what becomes of it.
        """
        return self._create(callback, to=to, body=text)

    def send_voice(self, to: str, file: str, *, callback: str) -> str:
        """Send the voice note that Twilio can fetch as ``file`` of ``/media``; returns its SID."""
        return self._create(callback, to=to, media_url=[f"{self._public_url}/media/{file}"])

    def find_text(self, to: str, text: str, *, since: float) -> str | None:
        """The SID of a message that Twilio took whose answer was lost. Raises ``SendError``."""
        found = (message.sid for message in self._listed(to, since) if message.body == text)
        return next(found, None)

    def find_voice(self, to: str, *, since: float) -> str | None:
        """The same for a voice note; senders get one at a time, so any recording is it."""
        found = (message.sid for message in self._listed(to, since) if message.num_media == "1")
        return next(found, None)

    def show_typing(self, message_sid: str) -> None:
        """Mark the message read and show that an answer is on its way; failing is harmless.

        It does not wait for a place: late, it would follow the answer.
        """
        if not _INBOUND_SID.fullmatch(message_sid):
            return
        try:
            self._indicator.create(channel="whatsapp", message_id=message_sid)
        except (TwilioException, requests.RequestException, *UNREADABLE) as error:
            self._metrics.count("typing_failed")
            log.info("Typing indicator failed", error=_reason(error))

    def _create(self, callback: str, **message: object) -> str:
        message |= {
            "from_": self._sender,
            "status_callback": f"{self._public_url}/status?sending={callback}",
        }
        with self._metrics.timer("send_time"):
            sent = self._patiently(lambda: self._messages.create(**message))
        return str(sent.sid)

    def _listed(self, to: str, since: float) -> list[MessageInstance]:
        """What Twilio took from us for ``to`` since then (epoch seconds), the newest first."""
        time.sleep(LISTING_DELAY * self._patience)
        recent = self._patiently(
            lambda: self._messages.list(to=to, from_=self._sender, limit=LISTED)
        )
        oldest = datetime.fromtimestamp(since, UTC) - CLOCK_SKEW
        ours = (message for message in recent if self._is_ours(message))
        return [message for message in ours if (message.date_created or oldest) >= oldest]

    def _is_ours(self, message: MessageInstance) -> bool:
        """Whether our sender sent it by REST: not another one, nor a TwiML answer.

        What a Messaging Service sends names no sender at first; we use none.
        """
        sender = (message.from_ or "").removeprefix(CHANNEL)
        return sender == self._sender.removeprefix(CHANNEL) and message.direction == "outbound-api"

    def _patiently(self, call: Callable[[], T]) -> T:
        return cast(T, retrying(RETRY_DELAYS, factor=self._patience)(self._placed, call))

    def _placed(self, call: Callable[[], T]) -> T:
        with self._limiter.slot():
            return _translated(call)


def _client(settings: Settings, timeout: float, session: requests.Session) -> Client:
    timeout *= settings.PROVIDER_TIMEOUT_FACTOR
    http = TwilioHttpClient(timeout=timeout, request_hooks={"response": limit_answer_time(timeout)})
    http.session = session
    client = Client(settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN, http_client=http)
    # The SDK would take a region from the environment and rewrite the host with it.
    client.region = client.edge = None
    client.api.base_url = settings.TWILIO_API_URL
    client.messaging.base_url = settings.TWILIO_MESSAGING_URL
    return client


def _translated(call: Callable[[], T]) -> T:
    """Make a call; whatever the SDK raises becomes a ``SendError``.

    What it raises is in docs/providers/twilio.md, "Python library".
    """
    try:
        return call()
    except TwilioException as error:
        status = getattr(error, "status", 500)
        if status == 429:
            raise SendBusy(_reason(error)) from None
        if status >= 500:
            raise SendUncertain(_reason(error)) from None
        raise SendRefused(_reason(error)) from None
    except requests.RequestException as error:
        kind = SendUnreachable if request_was_not_sent(error) else SendUncertain
        raise kind(_reason(error)) from None
    except UNREADABLE as error:
        raise SendUncertain("Twilio answered with something else than JSON") from error


def _reason(error: BaseException) -> str:
    """What may be logged: Twilio's code, never its text, which can quote the message."""
    code = getattr(error, "code", None)
    return f"Twilio error {code}" if code else type(error).__name__
