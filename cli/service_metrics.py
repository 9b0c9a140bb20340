"""The figures of a live service, before and after a message."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import requests

from core.settings import Account, is_public_url
from http_clients.bounded_requests import request
from web.advice import error_advice

TIMEOUT = 5.0
# In their order within a turn, with the names that operators know from the log. The recording of a
# test message needs no download.
STAGES = {
    "stt_time": "STT",
    "agentforce_time": "Agentforce",
    "tts_time": "TTS",
}


@dataclass(frozen=True)
class Figures:
    """``seconds`` are the counts and sums of each stage's times."""

    counters: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, tuple[int, float]] = field(default_factory=dict)

    def since(self, earlier: Figures) -> Figures:
        """What was counted after ``earlier``; nothing negative, though a process may be new."""
        times = {
            stage: (count - before[0], total - before[1])
            for stage, (count, total) in self.seconds.items()
            if (before := earlier.seconds.get(stage, (0, 0.0))) and count > before[0]
        }
        return Figures(self.counters - earlier.counters, self.errors - earlier.errors, times)

    @property
    def of_one_message(self) -> bool:
        """Whether all this was counted for one message, which is then ours."""
        return self.counters["messages_received"] == 1

    def time(self, stage: str) -> float | None:
        """The seconds of a stage, if it was measured once."""
        count, total = self.seconds.get(stage, (0, 0.0))
        return total if count == 1 else None

    def stage_times(self) -> dict[str, float]:
        """The seconds of the stages that our message has passed, by their names."""
        if not self.of_one_message:
            return {}
        times = {name: self.time(stage) for stage, name in STAGES.items()}
        return {name: time for name, time in times.items() if time is not None}

    def describe_errors(self) -> list[str]:
        """The errors by name, each with advice."""
        return [f"{name} ({error_advice(name)['advice']})" for name in self.errors]


class ServiceMetrics:
    """``GET /metrics`` of the service; it is read if METRICS_TOKEN is known or not needed."""

    def __init__(self, account: Account) -> None:
        self._url = f"{account.PUBLIC_URL}/metrics"
        self._token = account.METRICS_TOKEN
        # The token must not cross the internet in plain text.
        encrypted = self._url.startswith("https:")
        self._may_ask = not is_public_url(self._url) or (encrypted and bool(self._token))

    def read(self) -> Figures | None:
        """``None`` if the service does not show them."""
        if not self._may_ask:
            return None
        try:
            answer = request(
                "GET",
                self._url,
                seconds=TIMEOUT,
                auth=("operator", self._token) if self._token else None,
            )
            return _parse(answer.json()) if answer.status_code == 200 else None
        except (requests.RequestException, ValueError, AttributeError, TypeError, KeyError):
            # The address may be of something else.
            return None


def _parse(report: dict[str, Any]) -> Figures:
    stages = ((name, report[name]) for name in (*STAGES, "total_time"))
    return Figures(
        Counter(report["counters"]),
        Counter(report["errors"]),
        {name: (stage["count"], stage["count"] * stage["avg"]) for name, stage in stages},
    )
