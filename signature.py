"""Whether a webhook request comes from our Twilio account (contracts/twilio.md §2)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from twilio.request_validator import (
    RequestValidator,
    add_port,
    compare,
    get_signature_algorithm,
    remove_port,
)
from werkzeug.datastructures import Headers, MultiDict

from errors import ForgedRequest

SIGNATURE = "X-Twilio-Signature"
SETTINGS = "X-Twilio-Webhooks-Signature-Settings"
ALGORITHMS = ("HMAC_SHA1", "HMAC_SHA256")


class Signature:
    """Checks requests against the account's primary auth token and the configured address.

    The SDK's own ``validate`` puts the fields together anew for each form that the address may be
    signed in, which takes five times as long, and logs whatever strangers put into a header.
    """

    def __init__(self, *, auth_token: str, account_sid: str, public_url: str) -> None:
        self._validator = RequestValidator(auth_token)
        self._account_sid = account_sid
        parts = urlsplit(public_url)
        # Twilio signs the address with its port or without (§2.1).
        self._hosts = tuple(dict.fromkeys((remove_port(parts), add_port(parts))))

    def check(
        self,
        path: str,
        query: str,
        form: MultiDict[str, str],
        headers: Headers | Mapping[str, str],
    ) -> None:
        """Raise ``ForgedRequest`` unless the request is signed for this address and account.

        ``path`` and ``query`` are as they stood on the wire: decoded ones sign differently.
        """
        signature = headers.get(SIGNATURE, "")
        algorithm = get_signature_algorithm(headers.get(SETTINGS)).upper()
        # The console takes an address without a path, and signs it so.
        ends = ("/", "") if path == "/" and not query else (f"{path}?{query}" if query else path,)
        signed = _signed(form)
        if algorithm not in ALGORITHMS or not any(
            compare(
                self._validator.compute_signature(host + end + signed, {}, algorithm), signature
            )
            for host in self._hosts
            for end in ends
        ):
            raise ForgedRequest
        self.check_account(form)

    def check_account(self, form: Mapping[str, str]) -> None:
        """Raise ``ForgedRequest`` where the request names another account."""
        if form.get("AccountSid", self._account_sid) != self._account_sid:
            raise ForgedRequest("the request names another Twilio account")


def _signed(form: MultiDict[str, str]) -> str:
    """The fields as they are signed: names in order, each value of a name once."""
    return "".join(
        name + value for name in sorted(form) for value in sorted(set(form.getlist(name)))
    )
