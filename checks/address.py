"""Our own public address: a message that is signed as Twilio does must come back answered."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed
from urllib3.exceptions import NameResolutionError

from checks.report import Check
from core.models import CheckResult
from core.settings import Settings
from http_clients.sessions import requests_session
from whatsapp.signed_posts import RESPONSE_SECONDS, post_signed

ADDRESS = Check("public_address", "Public address")

RETRY_SECONDS = 2.0


class _Unavailable(Exception):
    """The service does not answer, perhaps because it or its router has just been started."""


class PublicAddress:
    """``attempts`` is how often a service that does not answer is tried."""

    def __init__(self, settings: Settings, *, attempts: int) -> None:
        self._settings = settings
        self._http = requests_session(settings, connections=1)
        self._retrying = Retrying(
            retry=retry_if_exception_type(_Unavailable),
            stop=stop_after_attempt(attempts),
            wait=wait_fixed(RETRY_SECONDS * settings.PROVIDER_TIMEOUT_FACTOR),
            reraise=True,
        )

    def check(self) -> Iterator[CheckResult]:
        if not self._settings.PUBLIC_URL:
            return
        try:
            yield self._retrying(self._try)
        except _Unavailable as error:
            yield ADDRESS.fail(str(error), "see that the app is up: heroku ps, heroku logs --tail")

    def _try(self) -> CheckResult:
        url, token = f"{self._settings.PUBLIC_URL}/", self._settings.TWILIO_AUTH_TOKEN
        try:
            answer = post_signed(
                url, self._message_to_itself(), auth_token=token, session=self._http
            )
        except requests.RequestException as error:
            return _explain_silence(error)
        return _explain(answer)

    def _message_to_itself(self) -> dict[str, str]:
        """A message whose sender we are ourselves, which is acknowledged and not stored.

        A service with another number takes it for a reaction, which is not answered.
        """
        sender = self._settings.TWILIO_WHATSAPP_FROM
        return {
            "MessageSid": f"SM{uuid.uuid4().hex}",
            "AccountSid": self._settings.TWILIO_ACCOUNT_SID,
            "From": sender,
            "To": sender,
            "Body": "",
            "NumMedia": "0",
            "MessageType": "reaction",
        }


def _explain(answer: requests.Response) -> CheckResult:
    """Raises ``_Unavailable``."""
    status = answer.status_code
    if status == 200 and "<Response" in answer.text:
        return ADDRESS.ok("a signed message came back acknowledged")
    if status == 403:
        return ADDRESS.fail(
            "refuses a message that is signed for it",
            "the service there must run with this PUBLIC_URL, TWILIO_ACCOUNT_SID and "
            "TWILIO_AUTH_TOKEN, and routers in front must not change paths",
        )
    if answer.is_redirect:
        return ADDRESS.fail(
            f"redirects with HTTP {status}",
            "let PUBLIC_URL be the address to which it redirects, for Twilio signs that one",
        )
    if status >= 500:
        raise _Unavailable(f"answers with HTTP {status}")
    return ADDRESS.fail(
        f"something else answers there (HTTP {status})",
        "let PUBLIC_URL be the address of this service",
    )


def _explain_silence(error: requests.RequestException) -> CheckResult:
    """Raises ``_Unavailable``."""
    if isinstance(error, requests.exceptions.SSLError):
        return ADDRESS.fail(
            "its certificate is not trusted, so Twilio will not connect",
            "install one of a public authority, with its intermediates",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return ADDRESS.fail("the proxy does not reach it", "look at HTTPS_PROXY and NO_PROXY")
    if isinstance(error, requests.Timeout):
        raise _Unavailable(f"does not answer within {RESPONSE_SECONDS} s, as Twilio demands")
    if error.args and isinstance(getattr(error.args[0], "reason", None), NameResolutionError):
        return ADDRESS.fail(
            "its host name is not known", "let PUBLIC_URL be the app's address: heroku info -s"
        )
    raise _Unavailable("accepts no connection")
