"""Timings and counters of this process since its start, kept in memory.

``Metrics`` collects them. ``MetricsSnapshot`` is their state at one moment, as a value that can be
saved, merged with those of other processes, and reported. Timings are histograms with fixed
buckets: memory does not grow with traffic, and merging loses nothing. ``Metrics.take`` hands out
what was recorded since it was last called, for the history (web/history_recorder.py).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from core.errors import BridgeError
from core.histogram import Histogram

# Timings, in seconds. All are reported from the start, with count 0.
STAGES = (
    "download_time",
    "stt_time",
    "agentforce_time",
    "tts_time",
    "total_time",
    "ack_time",
    "queue_time",
    "session_time",
    "convert_time",
    "send_time",
    "voice_reply_time",
    "overhead_time",
    "answer_cache_age",
    "text_turn_time",
    "voice_turn_time",
)

COUNTERS = (
    "messages_received",
    "messages_duplicate",
    "messages_refused",
    "messages_limited",
    "turns_answered",
    "turns_failed",
    "voice_notes_received",
    "voice_notes_sent",
    "voice_notes_failed",
    "voice_notes_resent",
    "texts_sent",
    "texts_resent",
    "messages_delivered",
    "messages_read",
    "messages_undelivered",
    "messages_failed",
    "escalations",
    "sessions_started",
    "sessions_renewed",
    "sessions_spare_kept",
    "sessions_spare_used",
    "tokens_fetched",
    "still_working_sent",
    "speech_characters",
    "speech_characters_saved",
    "speech_characters_discarded",
    "speech_cache_hits",
    "speech_cache_misses",
    "answer_cache_hits",
    "answer_cache_misses",
    "typing_failed",
    "signatures_rejected",
    "webhooks_refused",
    "breakers_opened",
    "calls_not_made",
    "text_turns",
    "voice_turns",
    "commands",
    "conversations",
    "questions_asked",
    "messages_sent",
    "transcribed_seconds",
    "speech_credits",
)

# Counters by a label: the class of an error; Twilio's code of an undelivered message; the language
# (ISO 639-1) of an answer; the limit that was met.
LABELLED = ("errors", "delivery_errors", "languages", "limits")

# Of these the largest value that was seen is kept.
GAUGES = ("waiting", "running", "workers")

# Counters that are also counted by the hour.
HOURLY = ("messages_received", "turns_failed")
# Both in seconds.
MINUTE, HOUR = 60, 3600
# The current hour and the 24 before it.
HOURS_KEPT = 25
# As many minutes of what was not taken yet, as while the database fails.
MINUTES_KEPT = 90


def _empty_stages() -> dict[str, Histogram]:
    return {stage: Histogram() for stage in STAGES}


def _zero_counters() -> Counter[str]:
    return Counter(dict.fromkeys(COUNTERS, 0))


@dataclass
class MetricsSnapshot:
    """The metrics of one process, or of several together. Not thread-safe."""

    stages: dict[str, Histogram] = field(default_factory=_empty_stages)
    counters: Counter[str] = field(default_factory=_zero_counters)
    # Counters by a label, see ``LABELLED``.
    errors: Counter[str] = field(default_factory=Counter)
    delivery_errors: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    limits: Counter[str] = field(default_factory=Counter)
    # The largest values of ``GAUGES``.
    gauges: dict[str, int] = field(default_factory=dict)
    # The counters of ``HOURLY``, by hours since the epoch.
    hours: dict[int, Counter[str]] = field(default_factory=dict)
    # When counting began, in seconds since the epoch.
    since: float = field(default_factory=time.time, compare=False)

    @classmethod
    def merged(cls, snapshots: Iterable[MetricsSnapshot]) -> MetricsSnapshot:
        """The metrics of several processes together."""
        total = cls()
        for snapshot in snapshots:
            total.merge(snapshot)
        return total

    def labelled(self, name: str) -> Counter[str]:
        """The counters of one of ``LABELLED``, by their labels."""
        counted: Counter[str] = getattr(self, name)
        return counted

    def merge(self, other: MetricsSnapshot) -> None:
        """Add the metrics of another process; ``other`` does not change."""
        for stage, histogram in other.stages.items():
            self.stages[stage].merge(histogram)
        self.counters.update(other.counters)
        for name in LABELLED:
            self.labelled(name).update(other.labelled(name))
        for gauge, value in other.gauges.items():
            self.observe(gauge, value)
        for hour, numbers in other.hours.items():
            self.hours.setdefault(hour, Counter()).update(numbers)
        self.since = min(self.since, other.since)

    def count(self, counter: str, number: int, now: float) -> None:
        """Add to one of ``COUNTERS``; ``now`` in seconds since the epoch."""
        self.counters[counter] += number
        if counter not in HOURLY:
            return
        hour = int(now // HOUR)
        if hour not in self.hours:
            self.hours = self._hours_since(hour - HOURS_KEPT + 1) | {hour: Counter()}
        self.hours[hour][counter] += number

    def observe(self, gauge: str, value: int) -> bool:
        """Keep the value of one of ``GAUGES`` if it is the largest; returns whether it is."""
        is_largest = value > self.gauges.get(gauge, -1)
        if is_largest:
            self.gauges[gauge] = value
        return is_largest

    def to_json(self) -> dict[str, Any]:
        """For ``from_json``; histograms and counters that are empty are left out."""
        return {
            "stages": {
                stage: histogram.to_json()
                for stage, histogram in self.stages.items()
                if histogram.count
            },
            "counters": {name: number for name, number in self.counters.items() if number},
            **{name: dict(self.labelled(name)) for name in LABELLED},
            "gauges": self.gauges,
            "hours": {str(hour): dict(numbers) for hour, numbers in self.hours.items()},
            "since": self.since,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> MetricsSnapshot:
        """The reverse of ``to_json``.

        Another release may have saved it: unknown names are ignored, and missing ones count as 0.
        """
        snapshot = cls()
        snapshot.add_json(saved)
        return snapshot

    def add_json(self, saved: Mapping[str, Any]) -> None:
        """Like ``merge``, with what ``to_json`` saved; much faster than by way of a snapshot."""
        stages = saved.get("stages", {})
        for stage in stages.keys() & self.stages.keys():
            self.stages[stage].add_json(stages[stage])
        counters = saved.get("counters", {})
        for name in counters.keys() & self.counters.keys():
            self.counters[name] += counters[name]
        for name in LABELLED:
            self.labelled(name).update(saved.get(name, {}))
        for gauge, value in saved.get("gauges", {}).items():
            self.observe(gauge, value)
        for hour, numbers in saved.get("hours", {}).items():
            self.hours.setdefault(int(hour), Counter()).update(numbers)
        self.since = min(self.since, saved.get("since", self.since))

    def report(self, uptime: float) -> dict[str, object]:
        """The JSON of ``GET /metrics``; ``uptime`` in seconds."""
        oldest_hour = int(time.time() // HOUR) - HOURS_KEPT + 1
        return {
            **{stage: histogram.summary() for stage, histogram in self.stages.items()},
            "counters": dict(self.counters),
            **{name: dict(self.labelled(name)) for name in LABELLED},
            "hours": [
                {"from": hour * HOUR, **{name: numbers[name] for name in HOURLY}}
                for hour, numbers in sorted(self._hours_since(oldest_hour).items())
            ],
            "since": self.since,
            "uptime": uptime,
        }

    def _hours_since(self, first: int) -> dict[int, Counter[str]]:
        return {hour: numbers for hour, numbers in self.hours.items() if hour >= first}


@dataclass(frozen=True)
class Moment:
    """When something happened first and last, in epoch seconds.

    ``detail`` belongs to the last time, such as the class of an error.
    """

    first: float
    last: float
    detail: str = ""

    def then(self, later: Moment) -> Moment:
        """Both together; ``later`` may be the earlier one."""
        newest = max(self, later, key=lambda moment: moment.last)
        return Moment(min(self.first, later.first), newest.last, newest.detail)


@dataclass(frozen=True)
class Recorded:
    """What was recorded in some time: snapshots by the minute since the epoch, and moments."""

    minutes: dict[int, MetricsSnapshot] = field(default_factory=dict)
    moments: dict[str, Moment] = field(default_factory=dict)


class Metrics:
    """Collects the ``STAGES`` and ``COUNTERS`` of this process; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot = MetricsSnapshot()
        self._recorded = Recorded()
        self._started = time.monotonic()

    def record_time(self, stage: str, seconds: float) -> None:
        """Add a duration to one of ``STAGES``."""
        with self._lock:
            for snapshot in self._snapshots(time.time()):
                snapshot.stages[stage].add(max(seconds, 0.0))

    @contextmanager
    def timer(self, stage: str) -> Iterator[None]:
        """Add the duration of the ``with`` block, unless it raises."""
        started = time.monotonic()
        yield
        self.record_time(stage, time.monotonic() - started)

    def count(self, counter: str, number: int = 1) -> None:
        """Add to one of ``COUNTERS``."""
        if counter not in self._snapshot.counters:
            raise KeyError(counter)
        now = time.time()
        with self._lock:
            for snapshot in self._snapshots(now):
                snapshot.count(counter, number, now)

    def count_label(self, name: str, label: str) -> None:
        """Add one to a counter of ``LABELLED``."""
        with self._lock:
            for snapshot in self._snapshots(time.time()):
                snapshot.labelled(name)[label] += 1

    def count_error(self, error: BaseException) -> None:
        """Count an error under the name of its class (a leaf of ``core/errors.py``)."""
        name = type(error).__name__
        self.count_label("errors", name)
        self.note(f"error {name}")

    def count_undelivered(self, code: int | None) -> None:
        """Count a message that Twilio accepted and did not deliver, under Twilio's code."""
        label = str(code or "none")
        self.count_label("delivery_errors", label)
        self.note(f"undelivered {label}")

    def observe(self, gauge: str, value: int) -> None:
        """Note the present value of one of ``GAUGES``, for the history only."""
        with self._lock:
            self._minute(time.time()).observe(gauge, value)

    def note(self, name: str, detail: str = "") -> None:
        """Note that something happened now. There must be few names; they are kept for ever."""
        now = time.time()
        moment = Moment(now, now, detail)
        with self._lock:
            known = self._recorded.moments.get(name, moment)
            self._recorded.moments[name] = known.then(moment)

    @contextmanager
    def watch(self, call: str) -> Iterator[None]:
        """Note whether a call to a provider succeeds; ``call`` is like ``twilio send``.

        Errors that say nothing about the provider are not noted, nor is one that was noted as the
        failure of an inner call.
        """
        try:
            yield
        except BridgeError as error:
            if error.rate_limited and not error.is_noted:
                self.count_label("limits", call.partition(" ")[0])
            if error.provider_state and not error.is_noted:
                self.note(f"failed {call}", type(error).__name__)
            error.is_noted = True
            raise
        self.note(f"ok {call}")

    def snapshot(self) -> MetricsSnapshot:
        """A copy of all metrics as they are now."""
        copy = MetricsSnapshot()
        with self._lock:
            copy.merge(self._snapshot)
        return copy

    def take(self) -> Recorded:
        """What was recorded since the last call."""
        with self._lock:
            taken, self._recorded = self._recorded, Recorded()
        return taken

    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def _snapshots(self, now: float) -> tuple[MetricsSnapshot, MetricsSnapshot]:
        """The snapshots that count what happens now."""
        return self._snapshot, self._minute(now)

    def _minute(self, now: float) -> MetricsSnapshot:
        minute = int(now // MINUTE)
        if minute not in self._recorded.minutes:
            # If nobody takes them, the last ones are enough.
            for old in [each for each in self._recorded.minutes if each <= minute - MINUTES_KEPT]:
                del self._recorded.minutes[old]
            self._recorded.minutes[minute] = MetricsSnapshot()
        return self._recorded.minutes[minute]
