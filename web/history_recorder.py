"""Writes what this process counts to the database, by slots of time."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from metrics import MINUTE, Metrics, MetricsSnapshot, Moment
from storage.database import StorageError
from storage.metrics_history import KEPT, MetricsHistory, Slot

log = structlog.get_logger(__name__)

# A process that is killed loses what it counted for so long.
INTERVAL_SECONDS = 5.0
# What a slot does not need: it has one time, and knows it.
_LEFT_OUT = ("hours", "since")


class HistoryRecorder:
    """A thread that saves every five seconds what changed, in slots of each length of ``KEPT``.

    A slot has one row for each process, which holds all that the process counted in it. So saving
    it again changes nothing, and a process that is restarted has other rows, because its name is
    random. ``gauges`` returns the present values of some ``GAUGES``. If the database fails, all is
    kept in memory until it is back, or until it would not be shown any more.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        history: MetricsHistory,
        gauges: Callable[[], Mapping[str, int]],
    ) -> None:
        self._metrics = metrics
        self._history = history
        self._gauges = gauges
        self._process = secrets.token_hex(8)
        self._lock = threading.Lock()
        # The slots that are running, and those that are not saved yet.
        self._slots: dict[Slot, MetricsSnapshot] = {}
        self._unsaved: set[Slot] = set()
        self._unsaved_moments: dict[str, Moment] = {}
        self._failing = False
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="history", daemon=True).start()

    def stop(self) -> None:
        """End the thread, and save for the last time."""
        self._stopped.set()
        self.flush()

    def flush(self) -> bool:
        """Save now what was counted until now; ``False`` if the database fails."""
        with self._lock:
            self._collect()
            try:
                self._save()
            except StorageError as error:
                self._log_once(error)
            else:
                self._failing = False
            self._forget(time.time())
            return not self._failing

    def unsaved_moments(self) -> dict[str, Moment]:
        """The moments of this process that the database may not have."""
        with self._lock:
            self._collect()
            return dict(self._unsaved_moments)

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            try:
                self._observe()
                self.flush()
            except Exception:
                log.exception("History not saved; trying again")

    def _observe(self) -> None:
        try:
            gauges = self._gauges()
        except StorageError:
            # ``flush`` logs that the database fails.
            return
        for gauge, value in gauges.items():
            self._metrics.observe(gauge, value)

    def _collect(self) -> None:
        recorded = self._metrics.take()
        for minute, snapshot in recorded.minutes.items():
            for length in KEPT:
                self._add(Slot(length, minute * MINUTE // length * length), snapshot)
        for name, moment in recorded.moments.items():
            known = self._unsaved_moments.get(name, moment)
            self._unsaved_moments[name] = known.then(moment)

    def _add(self, slot: Slot, snapshot: MetricsSnapshot) -> None:
        total = self._slots.setdefault(slot, MetricsSnapshot())
        gauges = dict(total.gauges)
        total.merge(snapshot)
        has_counted = replace(snapshot, gauges={}) != MetricsSnapshot()
        if has_counted or total.gauges != gauges:
            self._unsaved.add(slot)

    def _save(self) -> None:
        slots = {slot: _figures(self._slots[slot]) for slot in self._unsaved}
        self._history.save(self._process, slots, self._unsaved_moments)
        self._unsaved.clear()
        self._unsaved_moments.clear()

    def _forget(self, now: float) -> None:
        """Drop slots that are over and saved, or too old to be shown."""
        for slot in list(self._slots):
            # ``take`` may hand out the minute before once more.
            is_over = slot.begin + slot.length + MINUTE < now
            is_old = slot.begin < now - KEPT[slot.length]
            if (is_over and slot not in self._unsaved) or is_old:
                del self._slots[slot]
                self._unsaved.discard(slot)

    def _log_once(self, error: StorageError) -> None:
        if not self._failing:
            log.error("History cannot be saved; trying again", error=type(error).__name__)
        self._failing = True


def _figures(snapshot: MetricsSnapshot) -> dict[str, Any]:
    return {name: each for name, each in snapshot.to_json().items() if name not in _LEFT_OUT}
