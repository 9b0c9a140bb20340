"""Renders the pages for people."""

from __future__ import annotations

import secrets

from flask import Response, render_template

# A page may use its own style and script and read from this service, and nothing else.
POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def render_page(template: str, **values: object) -> Response:
    """A page of ``web/dashboard/``; its style and script carry ``nonce``."""
    nonce = secrets.token_urlsafe(16)
    response = Response(render_template(template, nonce=nonce, **values), mimetype="text/html")
    response.headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
    return response
