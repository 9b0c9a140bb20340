"""What browsers see while PUBLIC_URL is not set."""

from __future__ import annotations

from flask import Response

from web.pages import render_page


def setup_page() -> Response:
    """A page that says how to set PUBLIC_URL; it shows nothing of the deployment.

    It is HTML, because Twilio would send plain text to the user if the webhook were set to GET.
    """
    return render_page("setup.html")
