"""What the bridge itself reports about a turn, by ``/metrics`` and ``/health``."""

from __future__ import annotations

import time
from typing import Any

import requests

# How often the metrics are read.
LOOK_SECONDS = 0.5
# /health and, with several processes, /metrics are up to a second old.
STALE_SECONDS = 1.5
HTTP_TIMEOUT_SECONDS = 5.0
UNREACHABLE = "The bridge does not answer any more."


class MetricsObserver:
    """Compares the bridge's metrics with those ``before`` the turn, not more often than needed."""

    def __init__(self, bridge_url: str, before: dict[str, Any]) -> None:
        self._bridge_url = bridge_url
        self._before = before
        self._next_look = 0.0
        self._answered_at: float | None = None

    @property
    def answered(self) -> bool:
        """Whether the text of the answer was sent, according to the last look."""
        return self._answered_at is not None

    def failure(self) -> str:
        """Why the turn has failed; empty if it has not, or if it is too early to look again."""
        if time.monotonic() < self._next_look:
            return ""
        now = get_json(f"{self._bridge_url}/metrics")
        self._next_look = time.monotonic() + LOOK_SECONDS
        if now and _grew("turns_answered", self._before, now):
            self._answered_at = self._answered_at or time.monotonic()
        return _find_failure(self._before, now)

    def is_idle(self) -> bool:
        """Whether the turn was answered some time ago, and no turn runs any more."""
        if self._answered_at is None or time.monotonic() < self._answered_at + STALE_SECONDS:
            return False
        health = get_json(f"{self._bridge_url}/health")
        return (health.get("waiting"), health.get("running")) == (0, 0)


def _grew(counter: str, before: dict[str, Any], now: dict[str, Any]) -> bool:
    return bool(now["counters"][counter] > before["counters"][counter])


def _find_failure(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Why the turn has failed, according to the bridge's metrics; empty if it has not."""
    if not now:
        return UNREACHABLE
    errors = [
        name for name, count in now["errors"].items() if count > before["errors"].get(name, 0)
    ]
    reason = f" ({', '.join(errors)})" if errors else ""
    for counter, sentence in (
        ("turns_failed", "The bridge could not answer"),
        ("voice_notes_failed", "The answer came as text only: it could not be spoken or sent"),
    ):
        if _grew(counter, before, now):
            return f"{sentence}{reason}."
    return ""


def get_json(url: str) -> dict[str, Any]:
    """The JSON object at ``url``, with any status; empty if the bridge cannot be reached."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            body: dict[str, Any] = session.get(url, timeout=HTTP_TIMEOUT_SECONDS).json()
        except requests.RequestException:
            return {}
    return body
