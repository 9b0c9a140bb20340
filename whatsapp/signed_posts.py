"""Posts a form to a webhook as Twilio does: signed, and with Twilio's limits."""

from __future__ import annotations

from collections.abc import Mapping

import requests
from twilio.request_validator import RequestValidator

from http_clients.bounded_requests import request
from whatsapp.signature import SIGNATURE

# Twilio's own limits for a webhook, in seconds: to connect, and to get the whole response
# (docs/providers/twilio.md, "Waiting and retrying").
CONNECT_SECONDS, RESPONSE_SECONDS = 5, 15


def post_signed(
    url: str,
    form: Mapping[str, str],
    *,
    auth_token: str,
    seconds: float = RESPONSE_SECONDS,
    session: requests.Session | None = None,
) -> requests.Response:
    """The response, also if it is a redirect. Raises ``requests.RequestException``."""
    return request(
        "POST",
        url,
        seconds=seconds,
        connect_seconds=min(CONNECT_SECONDS, seconds),
        session=session,
        data=form,
        headers={SIGNATURE: RequestValidator(auth_token).compute_signature(url, form)},
    )
