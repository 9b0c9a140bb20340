"""What Twilio has sent to a phone, from its REST API."""

from __future__ import annotations

from dataclasses import dataclass

from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from core.errors import SendError, SendUnauthorized, SendUnreachable
from core.settings import Account
from http_clients.bodies import limit_answer_time
from whatsapp.client import call_sdk

TIMEOUT = 10.0
# Of the newest messages to one phone.
LISTED = 50
DELIVERED = ("delivered", "read")
UNDELIVERED = ("undelivered", "failed", "canceled")


class ListUnavailable(Exception):
    """Twilio's list could not be read; the error's text says why, as half a sentence."""


@dataclass(frozen=True)
class SentMessage:
    """``code`` is Twilio's error code of a message that was not delivered."""

    sid: str
    text: str
    spoken: bool
    status: str
    code: int | None

    @property
    def delivered(self) -> bool:
        return self.status in DELIVERED

    @property
    def undelivered(self) -> bool:
        return self.status in UNDELIVERED


class SentMessages:
    """The messages that the account sends to the WhatsApp address ``to`` from now on."""

    def __init__(self, *, account: Account, to: str) -> None:
        self._to = to
        self._messages = _client(account).messages
        # Twilio's clock may differ from ours, so earlier messages are known by their SIDs.
        self._earlier = {each.sid for each in self._list()}

    def new(self) -> list[SentMessage]:
        """In the order in which Twilio took them. Raises ``ListUnavailable``, as the creation."""
        return [each for each in reversed(self._list()) if each.sid not in self._earlier]

    def _list(self) -> list[SentMessage]:
        try:
            listed = call_sdk(lambda: self._messages.list(to=self._to, limit=LISTED))
        except SendError as error:
            raise ListUnavailable(_explain(error)) from None
        return [
            SentMessage(
                sid=str(each.sid),
                text=each.body or "",
                spoken=str(each.sid).startswith("MM") or each.num_media not in (None, "0"),
                status=str(each.status),
                code=each.error_code,
            )
            for each in listed
        ]


def _client(account: Account) -> Client:
    client = Client(
        account.TWILIO_ACCOUNT_SID,
        account.TWILIO_AUTH_TOKEN,
        http_client=TwilioHttpClient(
            timeout=TIMEOUT, request_hooks={"response": limit_answer_time(TIMEOUT)}
        ),
    )
    # Otherwise the SDK changes the host to that of a region named in the environment.
    client.region = client.edge = None
    client.api.base_url = account.TWILIO_API_URL
    return client


def _explain(error: SendError) -> str:
    if isinstance(error, SendUnauthorized):
        return "Twilio refuses TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN"
    if isinstance(error, SendUnreachable):
        return f"Twilio cannot be reached: {error.reason}"
    return f"Twilio does not give its list of messages: {error.reason}"
