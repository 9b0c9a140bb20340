"""Posts a form to a webhook as Twilio does: signed, and with Twilio's limits."""

from __future__ import annotations

from collections.abc import Mapping

import requests
from twilio.request_validator import RequestValidator

from whatsapp.signature import SIGNATURE

# Twilio's own limits for a webhook, in seconds: to connect, and to get the response
# (docs/providers/twilio.md, "Waiting and retrying").
LIMITS = (5, 15)


def signed_headers(url: str, form: Mapping[str, str], *, auth_token: str) -> dict[str, str]:
    """The header with Twilio's signature of a form that is posted to ``url``."""
    return {SIGNATURE: RequestValidator(auth_token).compute_signature(url, form)}


def post_signed(
    session: requests.Session, url: str, form: Mapping[str, str], *, auth_token: str
) -> requests.Response:
    """The response, also if it is a redirect. Raises ``requests.RequestException``."""
    headers = signed_headers(url, form, auth_token=auth_token)
    return session.post(url, data=form, headers=headers, timeout=LIMITS, allow_redirects=False)
