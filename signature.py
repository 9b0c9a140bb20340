"""Whether a webhook request comes from our Twilio account (contracts/twilio.md §2)."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from twilio.request_validator import (
    RequestValidator,
    add_port,
    get_signature_algorithm,
    remove_port,
)
from werkzeug.datastructures import Headers

from errors import ForgedRequest

SIGNATURE = "X-Twilio-Signature"
# How a message's SID stands in what is signed, and the fields that hold one (§1.2).
_NAMED_SID = re.compile(r"MessageSid(?:SM|MM)[0-9a-fA-F]{32}")
_SID_FIELD = re.compile(r"[A-Za-z]*MessageSid")
SETTINGS = "X-Twilio-Webhooks-Signature-Settings"
ALGORITHMS = ("HMAC_SHA1", "HMAC_SHA256")

Fields = Collection[tuple[str, str]]


class Signature:
    """Checks requests against the account's primary auth token and the configured address.

    The signature is computed by the SDK. Its ``validate`` would put the fields together anew for
    each form in which the address may be signed, and log headers of strangers.
    """

    def __init__(self, *, auth_token: str, account_sid: str, public_url: str) -> None:
        self._validator = RequestValidator(auth_token)
        self._account_sid = account_sid
        parts = urlsplit(public_url)
        # Twilio signs the address with its port or without (§2.1).
        self._hosts = tuple(dict.fromkeys((remove_port(parts), add_port(parts))))

    def check(
        self, path: str, query: str, fields: Fields, headers: Headers | Mapping[str, str]
    ) -> None:
        """Raise ``ForgedRequest`` unless the request is signed for this address and account.

        ``path`` and ``query`` are as they stood on the wire: decoded ones sign differently.
        """
        given = headers.get(SIGNATURE, "").encode()
        algorithm = get_signature_algorithm(headers.get(SETTINGS)).upper()
        # The console takes an address without a path, and signs it so.
        ends = ("/", "") if path == "/" and not query else (f"{path}?{query}" if query else path,)
        signed = "".join(name + value for name, value in sorted(fields))
        if algorithm not in ALGORITHMS or not any(
            hmac.compare_digest(self._sign(host + end + signed, algorithm), given)
            for host in self._hosts
            for end in ends
        ):
            raise ForgedRequest
        _check_parting(fields, signed)
        self.check_account(fields)

    def check_account(self, fields: Fields) -> None:
        """Raise ``ForgedRequest`` where the request names another account."""
        if any(name == "AccountSid" and value != self._account_sid for name, value in fields):
            raise ForgedRequest("the request names another Twilio account")

    def _sign(self, text: str, algorithm: str) -> bytes:
        return str(self._validator.compute_signature(text, {}, algorithm)).encode()


def _check_parting(fields: Fields, signed: str) -> None:
    """Raise ``ForgedRequest`` where Twilio may have signed other fields.

    It joins names and values without anything in between, so whoever chose the text of a message
    and has its signature can part it anew: into one of another sender with another SID, say. Then
    the SID that Twilio named lies within some other field. Without another SID it is a message
    that is known.
    """
    if len({name for name, _ in fields}) < len(fields):
        raise ForgedRequest("a field is there twice")
    named = sum(
        _NAMED_SID.fullmatch(f"MessageSid{value}") is not None
        for name, value in fields
        if _SID_FIELD.fullmatch(name)
    )
    if len(_NAMED_SID.findall(signed)) != named:
        raise ForgedRequest("a field holds the SID of another message")
