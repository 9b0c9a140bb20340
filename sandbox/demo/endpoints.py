"""What a web process says of itself over HTTP."""

from __future__ import annotations

from typing import Any

import requests

PATIENCE_SECONDS = 5.0


def report(url: str) -> dict[str, Any]:
    """The JSON at ``url``, whatever the status; empty when it cannot be reached."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            found: dict[str, Any] = session.get(url, timeout=PATIENCE_SECONDS).json()
        except requests.RequestException:
            return {}
    return found
