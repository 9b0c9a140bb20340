"""What browsers see while PUBLIC_URL is not set."""

from __future__ import annotations

import secrets

from flask import Response, render_template

POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def setup_page() -> Response:
    """A page that says how to set PUBLIC_URL; it shows nothing of the deployment.

    It is HTML, because Twilio would send plain text to the user if the webhook were set to GET.
    """
    nonce = secrets.token_urlsafe(16)
    response = Response(render_template("setup.html", nonce=nonce), mimetype="text/html")
    response.headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
    return response
