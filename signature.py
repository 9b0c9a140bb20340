"""Whether a webhook request comes from our Twilio account (contracts/twilio.md §2)."""

from __future__ import annotations

from collections.abc import Mapping

from twilio.request_validator import RequestValidator, get_signature_algorithm
from werkzeug.datastructures import Headers, MultiDict

from errors import ForgedRequest

SIGNATURE = "X-Twilio-Signature"
SETTINGS = "X-Twilio-Webhooks-Signature-Settings"


class Signature:
    """Checks requests against the account's primary auth token and the configured address."""

    def __init__(self, *, auth_token: str, account_sid: str, public_url: str) -> None:
        self._validator = RequestValidator(auth_token)
        self._account_sid = account_sid
        self._public_url = public_url

    def check(self, path: str, query: str, form: MultiDict[str, str], headers: Headers) -> None:
        """Raise ``ForgedRequest`` unless the request is signed for this address and account.

        ``path`` and ``query`` are as they stood on the wire: decoded ones sign differently.
        """
        signature = headers.get(SIGNATURE, "")
        algorithm = get_signature_algorithm(headers.get(SETTINGS))
        address = self._public_url + path + (f"?{query}" if query else "")
        # The console takes an address without a path, and signs it so.
        addresses = (address, self._public_url) if path == "/" and not query else (address,)
        if not any(
            self._validator.validate(candidate, form, signature, algorithm)
            for candidate in addresses
        ):
            raise ForgedRequest
        self.check_account(form)

    def check_account(self, form: Mapping[str, str]) -> None:
        """Raise ``ForgedRequest`` where the request names another account."""
        if form.get("AccountSid", self._account_sid) != self._account_sid:
            raise ForgedRequest("the request names another Twilio account")
