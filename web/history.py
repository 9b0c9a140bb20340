"""What was counted over time: the JSON of ``GET /dashboard/history``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.histogram import Histogram
from core.settings import Settings
from metrics import GAUGES, HOUR, MINUTE, MetricsSnapshot
from storage.metrics_history import QUARTER, TWO_HOURS, MetricsHistory
from web.advice import delivery_advice, error_advice
from web.costs import costs
from web.history_recorder import HistoryRecorder
from web.stages import stages

# For how long what was read is shown again, so that many viewers cost as much as one: this part of
# a slot, up to a limit in seconds.
FRESH_PART, FRESH_SECONDS = 60, 10.0
# After so many rows, others get their turn: reading a thousand takes a tenth of a second.
ROWS_AT_ONCE = 20

COUNTERS = {
    "messages": "messages_received",
    "texts": "text_turns",
    "voice_notes": "voice_turns",
    "commands": "commands",
    "answered": "turns_answered",
    "failed": "turns_failed",
}
DELIVERIES = ("delivered", "read", "undelivered", "failed")
CACHES = {
    "speech_characters_saved": "speech_characters_saved",
    "speech_characters": "speech_characters",
    "speech_hits": "speech_cache_hits",
    "speech_misses": "speech_cache_misses",
    "answer_hits": "answer_cache_hits",
    "answer_misses": "answer_cache_misses",
}
LIMITS = {
    "limit_minute": "A sender's messages a minute",
    "limit_day": "A sender's messages a day",
    "busy": "All messages a minute",
    "inbox": "Inbox full",
    "twilio": "Twilio's rate limit",
    "salesforce": "Agentforce's rate limit",
    "elevenlabs": "ElevenLabs' requests at once",
}


@dataclass(frozen=True)
class Window:
    """The last ``number`` slots of ``step`` seconds; the last one is running."""

    step: int
    number: int

    def first_slot(self, now: float) -> int:
        """The begin of the first slot, in epoch seconds."""
        return (int(now // self.step) - self.number + 1) * self.step


WINDOWS = {
    "hour": Window(MINUTE, 60),
    "day": Window(QUARTER, 96),
    "week": Window(TWO_HOURS, 84),
}


class History:
    """Thread-safe; ``report`` and ``last_hour`` raise ``StorageError``."""

    def __init__(
        self, *, settings: Settings, recorder: HistoryRecorder, table: MetricsHistory
    ) -> None:
        self._settings = settings
        self._recorder = recorder
        self._table = table
        self._lock = threading.Lock()
        self._read: dict[str, tuple[float, int, dict[int, MetricsSnapshot]]] = {}

    def report(self, name: str) -> dict[str, Any]:
        """All that is shown of one of ``WINDOWS``; what this process counted is included."""
        window = WINDOWS[name]
        first, slots = self._slots(name)
        total = MetricsSnapshot.merged(slots.values())
        return {
            "window": name,
            "from": first,
            "to": first + window.step * window.number,
            "step": window.step,
            "points": [
                _point(first + index * window.step, slots.get(first + index * window.step))
                for index in range(window.number)
            ],
            "total": _total(total),
            "costs": costs(total.counters, self._settings),
        }

    def last_hour(self) -> MetricsSnapshot:
        """The figures of the last hour, and of up to a quarter of an hour before it."""
        self._recorder.flush()
        first = int((time.time() - HOUR) // QUARTER * QUARTER)
        return MetricsSnapshot.merged(_merge(self._table.slots(QUARTER, since=first)).values())

    def _slots(self, name: str) -> tuple[int, dict[int, MetricsSnapshot]]:
        """The begin of the first slot, and what all processes counted in each slot."""
        with self._lock:
            now = time.time()
            until, first, slots = self._read.get(name, (0.0, 0, {}))
            if now >= until:
                window = WINDOWS[name]
                first = window.first_slot(now)
                self._recorder.flush()
                slots = _merge(self._table.slots(window.step, since=first))
                fresh = min(window.step / FRESH_PART, FRESH_SECONDS)
                self._read[name] = (now + fresh, first, slots)
            return first, slots


def _merge(rows: Iterable[tuple[int, Mapping[str, Any]]]) -> dict[int, MetricsSnapshot]:
    slots: dict[int, MetricsSnapshot] = {}
    for number, (begin, figures) in enumerate(rows):
        slots.setdefault(begin, MetricsSnapshot()).add_json(figures)
        if number % ROWS_AT_ONCE == 0:
            time.sleep(0)
    return slots


def _point(begin: int, slot: MetricsSnapshot | None) -> dict[str, Any]:
    counted = slot or MetricsSnapshot()
    return {
        "at": begin,
        **_counts(counted),
        **_latencies(counted),
        **{gauge: counted.gauges.get(gauge, 0) for gauge in GAUGES},
    }


def _total(total: MetricsSnapshot) -> dict[str, Any]:
    return {
        **_counts(total),
        **_latencies(total),
        "stages": stages(total),
        "failures": [
            {"name": name, "count": count, **error_advice(name)}
            for name, count in total.errors.most_common()
        ],
        "deliveries": {state: total.counters[f"messages_{state}"] for state in DELIVERIES},
        "delivery_errors": [
            {"code": code, "count": count, **delivery_advice(code)}
            for code, count in total.delivery_errors.most_common()
        ],
        "languages": [
            {"language": language, "count": count}
            for language, count in total.languages.most_common()
        ],
        "caches": {name: total.counters[counter] for name, counter in CACHES.items()},
        "limits": [
            {"name": name, "title": LIMITS.get(name, name), "count": count}
            for name, count in total.limits.most_common()
        ],
    }


def _counts(counted: MetricsSnapshot) -> dict[str, int]:
    return {name: counted.counters[counter] for name, counter in COUNTERS.items()}


def _latencies(counted: MetricsSnapshot) -> dict[str, Any]:
    return {
        "text_latency": percentiles(counted.stages["text_turn_time"]),
        "voice_latency": percentiles(counted.stages["voice_turn_time"]),
    }


def percentiles(histogram: Histogram) -> dict[str, float]:
    """The number of durations, and the percentiles that the page draws, in seconds."""
    summary = histogram.summary()
    return {name: summary[name] for name in ("count", "p50", "p95", "p99")}
