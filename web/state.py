"""How the service is now: the JSON of ``GET /dashboard/state``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from core.models import CheckResult
from core.settings import Settings
from metrics import Metrics, MetricsSnapshot, Moment
from storage.database import StorageError
from storage.metrics_history import MetricsHistory
from turns.health import Health, HealthReport
from web.advice import delivery_advice, error_advice, error_classes, provider_of
from web.history import History
from web.history_recorder import HistoryRecorder
from web.providers import FORGOTTEN_SECONDS, Provider, providers
from web.verdict import Situation, verdict

log = structlog.get_logger(__name__)

# What must have happened once, by the names of moments, in the order in which it happens.
FIRSTS = {
    "message received": "A message arrived",
    "text answered": "A text was answered",
    "voice answered": "A voice note was answered",
    "voice sent": "An answer was spoken",
    "status received": "Twilio reported what became of an answer",
    "delivered": "An answer was delivered",
}


class State:
    """Thread-safe.

    ``checks`` returns when this process ran its checks last (epoch seconds), and their results; or
    ``None`` and nothing.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        metrics: Metrics,
        health: Health,
        recorder: HistoryRecorder,
        table: MetricsHistory,
        history: History,
        checks: Callable[[], tuple[float | None, Sequence[CheckResult]]],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._health = health
        self._recorder = recorder
        self._table = table
        self._history = history
        self._checks = checks
        self._moments: dict[str, Moment] = {}
        self._last_hour = MetricsSnapshot()

    def report(self) -> dict[str, Any]:
        """Everything that is so now. If the database fails, what was read last is shown."""
        now = time.time()
        health = self._health.check()
        if health.database:
            self._read()
        self._add_moments(self._recorder.unsaved_moments())
        known = providers(self._moments, health.providers_down, now)
        checked_at, checks = self._checks()
        situation = self._situation(health, known, checks, now)
        return {
            "now": now,
            "release": self._settings.RELEASE,
            "uptime": self._metrics.uptime(),
            "verdict": verdict(situation).to_json(),
            "health": health.to_json(),
            "last_message_at": self._last("message received"),
            "last_answer_at": self._last("answered"),
            "providers": [provider.to_json() for provider in known],
            "refused_webhooks": {
                "count": self._last_hour.counters["webhooks_refused"],
                "last_at": self._last("webhook refused"),
                "is_over": not situation.webhooks_refused,
                "expected_url": situation.expected_url,
            },
            "errors": self._errors(known, now),
            "delivery_errors": self._delivery_errors(now),
            "checklist": {
                "checked_at": checked_at,
                "results": [check.to_json() for check in checks],
                "firsts": [
                    {"title": title, "at": self._first(name)} for name, title in FIRSTS.items()
                ],
            },
        }

    def _read(self) -> None:
        try:
            # This saves what is shown.
            self._last_hour = self._history.last_hour()
            self._moments = self._table.moments()
        except StorageError as error:
            log.warning("The dashboard shows old figures", error=type(error).__name__)

    def _add_moments(self, unsaved: Mapping[str, Moment]) -> None:
        added = {
            name: self._moments.get(name, moment).then(moment) for name, moment in unsaved.items()
        }
        self._moments = self._moments | added

    def _situation(
        self,
        health: HealthReport,
        known: Sequence[Provider],
        checks: Sequence[CheckResult],
        now: float,
    ) -> Situation:
        return Situation(
            health=health,
            providers=known,
            checks=checks,
            # Only answers of the agent have this time.
            answered=self._last_hour.stages["total_time"].count,
            failed=_failed(self._last_hour),
            last_answer_at=self._last("answered") or 0.0,
            last_failed_turn_at=self._last("turn failed") or 0.0,
            webhooks_refused=self._webhooks_refused(now),
            expected_url=f"{self._settings.PUBLIC_URL}/",
            has_messages=self._last("message received") is not None,
        )

    def _webhooks_refused(self, now: float) -> bool:
        """Whether the last webhook with a signature was refused."""
        accepted = self._last("webhook accepted") or 0.0
        return self._recent("webhook refused", now) > accepted

    def _errors(self, known: Sequence[Provider], now: float) -> list[dict[str, Any]]:
        """The errors that are not over, the latest first."""
        by_name = {each.name: each for each in known}
        found = []
        for name, last_at in self._labelled("error", now):
            provider = by_name.get(provider_of(name))
            ended_at = (provider.last_success_at or 0.0) if provider else 0.0
            is_over = last_at < ended_at and not (provider and provider.error)
            if not is_over:
                count = self._last_hour.errors[name]
                found.append(_counted("name", name, count, last_at) | error_advice(name))
        return found

    def _delivery_errors(self, now: float) -> list[dict[str, Any]]:
        """What was not delivered in the last hour, the latest first."""
        return [
            _counted("code", code, self._last_hour.delivery_errors[code], last_at)
            | delivery_advice(code)
            for code, last_at in self._labelled("undelivered", now)
        ]

    def _labelled(self, kind: str, now: float) -> list[tuple[str, float]]:
        """The moments ``kind …`` of the last hour, by the rest of the name, the latest first."""
        found = [
            (name.removeprefix(f"{kind} "), moment.last)
            for name, moment in self._moments.items()
            if name.startswith(f"{kind} ") and moment.last > now - FORGOTTEN_SECONDS
        ]
        return sorted(found, key=lambda each: each[1], reverse=True)

    def _first(self, name: str) -> float | None:
        return self._moments[name].first if name in self._moments else None

    def _last(self, name: str) -> float | None:
        return self._moments[name].last if name in self._moments else None

    def _recent(self, name: str, now: float) -> float:
        """When it happened last, if that is not too long ago; otherwise 0."""
        last = self._last(name) or 0.0
        return last if last > now - FORGOTTEN_SECONDS else 0.0


def _failed(last_hour: MetricsSnapshot) -> int:
    """The turns that failed, but not because of what the sender sent."""
    classes = error_classes()
    by_sender = sum(
        count
        for name, count in last_hour.errors.items()
        if name in classes and classes[name].by_sender
    )
    return max(last_hour.counters["turns_failed"] - by_sender, 0)


def _counted(key: str, name: str, count: int, last_at: float) -> dict[str, Any]:
    # It may have happened just before the hour that is counted.
    return {key: name, "count": max(count, 1), "last_at": last_at}
