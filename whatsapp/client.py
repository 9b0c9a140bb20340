"""Twilio: sending text, voice notes and the typing indicator (docs/providers/twilio.md)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar, cast

import requests
import structlog
from twilio.base.exceptions import TwilioException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client
from twilio.rest.api.v2010.account.message import MessageInstance

from core.errors import SendBusy, SendRefused, SendUnauthorized, SendUncertain, SendUnreachable
from core.settings import Settings
from http_clients.bodies import UNREADABLE, limit_answer_time
from http_clients.concurrency import ConcurrencyLimiter
from http_clients.retries import retrying
from http_clients.routes import Route
from http_clients.sessions import requests_session
from http_clients.unsent_requests import request_was_not_sent
from metrics import Metrics
from whatsapp.inbound import CHANNEL

T = TypeVar("T")

log = structlog.get_logger(__name__)

SEND_TIMEOUT = 10.0
TYPING_TIMEOUT = 3.0
# Twilio has surely not processed what it answers with 429, so repeating is safe
# (docs/providers/twilio.md, "Error codes").
RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)
# Twilio may need so many seconds to list a message that it has accepted.
LISTING_DELAY = 1.0
LISTING_LIMIT = 20
CLOCK_SKEW = timedelta(seconds=2)

_INBOUND_SID = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")


class WhatsApp:
    """Our WhatsApp sender at Twilio.

    ``connections`` threads can send at once, and ``typing_connections`` show the typing indicator.
    """

    def __init__(
        self, *, settings: Settings, metrics: Metrics, connections: int, typing_connections: int
    ) -> None:
        self._sender = settings.TWILIO_WHATSAPP_FROM
        self._public_url = settings.PUBLIC_URL
        self._metrics = metrics
        self._timeout_factor = settings.PROVIDER_TIMEOUT_FACTOR
        # Twilio documents no limit; the limiter learns it from Twilio's refusals (20429).
        self._limiter = ConcurrencyLimiter(connections, provider="Twilio")
        sending = requests_session(settings, connections=connections)
        typing = requests_session(settings, connections=typing_connections)
        self._client = build_client(settings, SEND_TIMEOUT, sending)
        self._typing = build_client(settings, TYPING_TIMEOUT, typing)
        self._routes = [
            Route(sending, settings.TWILIO_API_URL),
            Route(typing, settings.TWILIO_MESSAGING_URL),
        ]
        # The SDK imports these modules on first use, which takes 80 ms.
        self._messages = self._client.messages
        self._indicator = self._typing.messaging.v2.typing_indicator

    def routes(self) -> list[Route]:
        """The connections to keep open."""
        return self._routes

    def send_text(self, to: str, text: str, *, callback: str) -> str:
        """Send one message of at most 1600 characters; returns its SID. Raises ``SendError``.

        ``callback`` is the name that Twilio's status callbacks give for it.
        """
        return self._create(callback, to=to, body=text)

    def send_voice(self, to: str, file: str, *, callback: str) -> str:
        """Send the voice note that is served as ``/media/<file>``; returns its SID.

        Raises ``SendError``.
        """
        if not self._public_url:
            raise SendRefused("PUBLIC_URL is not set, so Twilio could not fetch the voice note")
        return self._create(callback, to=to, media_url=[f"{self._public_url}/media/{file}"])

    def find_text(self, to: str, text: str, *, since: float) -> str | None:
        """The SID of a text that Twilio accepted since then (epoch seconds), if it lists one.

        For use when the response to a send did not arrive. Raises ``SendError``.
        """
        found = (message.sid for message in self._list_sent(to, since) if message.body == text)
        return next(found, None)

    def find_voice(self, to: str, *, since: float) -> str | None:
        """The same for a voice note. A user gets one at a time, so any recording matches."""
        sent = self._list_sent(to, since)
        return next((message.sid for message in sent if message.num_media == "1"), None)

    def show_typing(self, message_sid: str) -> None:
        """Mark the message as read and show that an answer is being written.

        Errors are only logged. The request needs no slot of the limiter, because an indicator that
        waits for other sends would come too late.
        """
        if not _INBOUND_SID.fullmatch(message_sid):
            return
        try:
            self._indicator.create(channel="whatsapp", message_id=message_sid)
        except (TwilioException, requests.RequestException, *UNREADABLE) as error:
            self._metrics.count("typing_failed")
            log.info("Typing indicator failed", error=_reason(error))

    def _create(self, callback: str, **message: object) -> str:
        message["from_"] = self._sender
        if self._public_url:
            message["status_callback"] = f"{self._public_url}/status?sending={callback}"
        with self._metrics.timer("send_time"):
            sent = self._call_with_retries(partial(self._create_once, message))
        self._metrics.count("messages_sent")
        return str(sent.sid)

    def _create_once(self, message: dict[str, Any]) -> MessageInstance:
        with self._metrics.watch("twilio send"):
            return call_sdk(lambda: self._messages.create(**message))

    def _list_sent(self, to: str, since: float) -> list[MessageInstance]:
        """The messages that we sent ``to`` a user since then (epoch seconds), the newest first."""
        time.sleep(LISTING_DELAY * self._timeout_factor)
        sent = partial(self._messages.list, to=to, from_=self._sender, limit=LISTING_LIMIT)
        try:
            recent = self._call_with_retries(partial(call_sdk, sent))
        except SendRefused as error:
            # This says nothing about the message that is looked for.
            raise SendUncertain(error.reason) from None
        oldest = datetime.fromtimestamp(since, UTC) - CLOCK_SKEW
        ours = (message for message in recent if self._is_ours(message))
        return [message for message in ours if (message.date_created or oldest) >= oldest]

    def _is_ours(self, message: MessageInstance) -> bool:
        """Whether our sender sent the message through the REST API, and not as TwiML.

        Messages of a Messaging Service name no sender at first, but the service uses none.
        """
        sender = (message.from_ or "").removeprefix(CHANNEL)
        return sender == self._sender.removeprefix(CHANNEL) and message.direction == "outbound-api"

    def _call_with_retries(self, call: Callable[[], T]) -> T:
        retry = retrying(RETRY_DELAYS, factor=self._timeout_factor)
        return cast(T, retry(self._call_in_slot, call))

    def _call_in_slot(self, call: Callable[[], T]) -> T:
        with self._limiter.slot():
            return call()


def build_client(settings: Settings, timeout: float, session: requests.Session) -> Client:
    """The SDK's client; ``timeout`` is in seconds, and includes the whole answer."""
    timeout *= settings.PROVIDER_TIMEOUT_FACTOR
    http = TwilioHttpClient(timeout=timeout, request_hooks={"response": limit_answer_time(timeout)})
    http.session = session
    client = Client(settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN, http_client=http)
    # Otherwise the SDK changes the host to that of a region named in the environment.
    client.region = client.edge = None
    client.api.base_url = settings.TWILIO_API_URL
    client.messaging.base_url = settings.TWILIO_MESSAGING_URL
    return client


def call_sdk(call: Callable[[], T]) -> T:
    """Make a call of the SDK, and raise its errors as ``SendError``.

    docs/providers/twilio.md, "Python library".
    """
    try:
        return call()
    except TwilioException as error:
        status = _status(error)
        if status == 429:
            raise SendBusy(_reason(error)) from None
        if status >= 500:
            raise SendUncertain(_reason(error)) from None
        if status in (401, 403):
            raise SendUnauthorized(_reason(error)) from None
        raise SendRefused(_reason(error)) from None
    except requests.RequestException as error:
        kind = SendUnreachable if request_was_not_sent(error) else SendUncertain
        raise kind(_reason(error)) from None
    except UNREADABLE as error:
        raise SendUncertain("Twilio's answer is not JSON") from error


def _status(error: TwilioException) -> int:
    response = _response(error)
    return int(response.status_code if response else getattr(error, "status", 500))


def _reason(error: BaseException) -> str:
    """Twilio's code, for the log. Twilio's text is left out, because it can quote the message."""
    response = _response(error)
    code = _code(response) if response else getattr(error, "code", None)
    if code:
        return f"Twilio error {code}"
    return f"HTTP {response.status_code}" if response else type(error).__name__


def _response(error: BaseException) -> Response | None:
    """What Twilio answered, if a list was asked for: the SDK's error then has nothing else."""
    return next((each for each in error.args if isinstance(each, Response)), None)


def _code(response: Response) -> object:
    try:
        answer = json.loads(response.text)
    except ValueError:
        return None
    return answer.get("code") if isinstance(answer, dict) else None
