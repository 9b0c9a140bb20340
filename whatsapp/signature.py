"""Verifies that a request is from our Twilio account (docs/providers/twilio.md, "Signatures")."""

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

from core.errors import ForgedRequest

SIGNATURE = "X-Twilio-Signature"
# The SID of a message as it appears in the signed text, and the names of fields with such a SID.
_NAMED_SID = re.compile(r"MessageSid(?:SM|MM)[0-9a-fA-F]{32}")
_SID_FIELD = re.compile(r"[A-Za-z]*MessageSid")
SETTINGS = "X-Twilio-Webhooks-Signature-Settings"
ALGORITHMS = ("HMAC_SHA1", "HMAC_SHA256")

Fields = Collection[tuple[str, str]]


class Signature:
    """Checks requests against the account's primary auth token and the configured address.

    Without ``public_url`` it refuses all.
    ``shared_key`` is the secret of a key with which the account signs instead (a public beta). A
    header tells which requests are signed with it.

    The SDK computes the signatures. Its ``validate`` is not used: it joins the fields again for
    each variant of the address, and logs headers that strangers sent.
    """

    def __init__(
        self, *, auth_token: str, account_sid: str, public_url: str, shared_key: str = ""
    ) -> None:
        self._by_token = RequestValidator(auth_token)
        self._by_shared_key = RequestValidator(shared_key) if shared_key else None
        self._account_sid = account_sid
        parts = urlsplit(public_url)
        # Twilio may sign the address with its port or without it.
        self._hosts = (
            tuple(dict.fromkeys((remove_port(parts), add_port(parts)))) if public_url else ()
        )

    def check(
        self, path: str, query: str, fields: Fields, headers: Headers | Mapping[str, str]
    ) -> None:
        """Raise ``ForgedRequest`` unless the request is signed for this address and account.

        ``path`` and ``query`` must be as the request had them: once decoded, they have another
        signature.
        """
        if not self._hosts:
            raise ForgedRequest("PUBLIC_URL is not set, so no signature can be verified")
        given = headers.get(SIGNATURE, "").encode()
        settings = headers.get(SETTINGS, "")
        algorithm = get_signature_algorithm(settings).upper()
        validator = (self._by_shared_key if settings else None) or self._by_token
        # Twilio signs the address as it was entered in the console, which may be without a path.
        ends = ("/", "") if path == "/" and not query else (f"{path}?{query}" if query else path,)
        signed_fields = "".join(name + value for name, value in sorted(fields))
        if algorithm not in ALGORITHMS or not any(
            hmac.compare_digest(_sign(validator, host + end + signed_fields, algorithm), given)
            for host in self._hosts
            for end in ends
        ):
            raise ForgedRequest(self._reason(algorithm) if settings else "")
        _check_field_borders(fields, signed_fields)
        self.check_account(fields)

    def check_account(self, fields: Fields) -> None:
        """Raise ``ForgedRequest`` if the request names another account."""
        if any(name == "AccountSid" and value != self._account_sid for name, value in fields):
            raise ForgedRequest("the request names another Twilio account")

    def _reason(self, algorithm: str) -> str:
        """Why a request that was signed with a shared key is refused, for the operator."""
        if algorithm not in ALGORITHMS:
            return f"Twilio signs by another algorithm than {' and '.join(ALGORITHMS)}"
        if self._by_shared_key:
            return "Twilio signs with a shared key whose secret is not TWILIO_SHARED_KEY"
        return "Twilio signs with a shared key; set TWILIO_SHARED_KEY to its secret"


def _sign(validator: RequestValidator, text: str, algorithm: str) -> bytes:
    return str(validator.compute_signature(text, {}, algorithm)).encode()


def _check_field_borders(fields: Fields, signed_fields: str) -> None:
    """Raise ``ForgedRequest`` if Twilio may have signed other fields.

    Twilio signs names and values joined without separators. So somebody who wrote the text of a
    message and knows its signature can move the borders between the fields, for example to make a
    message of another sender with another SID. Then the SID that Twilio gave stands inside some
    other field. A request that keeps the SID is a message that was accepted before.
    """
    if len({name for name, _ in fields}) < len(fields):
        raise ForgedRequest("a field is there twice")
    sid_fields = sum(
        _NAMED_SID.fullmatch(f"MessageSid{value}") is not None
        for name, value in fields
        if _SID_FIELD.fullmatch(name)
    )
    if len(_NAMED_SID.findall(signed_fields)) != sid_fields:
        raise ForgedRequest("a field holds the SID of another message")
