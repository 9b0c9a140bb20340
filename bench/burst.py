"""Bursts of turns: how late their answers come, and how much CPU and memory they take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.critical_path import Span
from bench.load_generator import AT_ONCE, LoadGenerator, ResponseTimes
from bench.resource_usage import cpu_seconds
from bench.target import Target
from bench.turn_observer import TurnObserver, TurnTimes

RECORDING_SECONDS = 4.0
POLL_SECONDS = 0.1
# Sampling memory costs CPU, so it is done in every fifth poll only.
POLLS_PER_MEMORY_SAMPLE = 5
# Many times the slowest turn. A turn that is not answered by then is counted as lost.
TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Burst:
    """The results of ``size`` turns that arrived at once.

    ``wrong`` counts turns that were not answered exactly once. ``cpu_per_turn`` is in seconds,
    ``peak_memory`` and ``final_memory`` are resident bytes.
    """

    size: int
    times: Sequence[TurnTimes]
    wrong: int
    cpu_per_turn: float
    peak_memory: int
    final_memory: int
    spans: Sequence[Span]

    @property
    def texts(self) -> list[float]:
        """Seconds from the webhook to each text answer."""
        return [times.text for times in self.times]

    @property
    def notes(self) -> list[float]:
        """Seconds from the webhook to each voice note."""
        return [times.note for times in self.times if times.note is not None]


@dataclass(frozen=True)
class BurstRunner:
    """Sends bursts to a bot. All senders are new, so each turn starts an agent session."""

    target: Target
    load_generator: LoadGenerator

    def voice_notes(self, size: int) -> Burst:
        return self._run(size, notes=True)

    def texts(self, size: int) -> Burst:
        return self._run(size, notes=False)

    def texts_at(self, rate: float, seconds: float) -> ResponseTimes:
        """How fast webhooks are acknowledged at ``rate`` texts per second."""
        count = round(rate * seconds)
        texts = self.target.with_new_users(count).texts(count)
        return self.load_generator.post(self.target.url, texts, rate).result()

    def _run(self, size: int, *, notes: bool) -> Burst:
        target = self.target.with_new_users(size)
        self._clear_recorded()
        if notes:
            webhooks = target.voice_notes(size, seconds=RECORDING_SECONDS)
        else:
            webhooks = target.texts(size)
        cpu_before = cpu_seconds(target.webs)
        posted = self.load_generator.post(target.url, webhooks, AT_ONCE)
        observer = TurnObserver(target, posted.result().began, notes)
        peak_memory = self._wait_until_answered(observer)
        if violations := target.sandbox.recorder.violations:
            raise RuntimeError(f"the bot broke a provider's contract: {violations[0]}")
        return Burst(
            size=size,
            times=observer.times(),
            wrong=observer.wrong(),
            cpu_per_turn=(cpu_seconds(target.webs) - cpu_before) / size,
            peak_memory=peak_memory,
            final_memory=self._memory(),
            spans=observer.spans(),
        )

    def _wait_until_answered(self, observer: TurnObserver) -> int:
        """Wait for all answers, or for the timeout; returns the peak memory in bytes."""
        peak, polls, deadline = 0, 0, time.monotonic() + TIMEOUT_SECONDS
        while not observer.all_answered() and time.monotonic() < deadline:
            if polls % POLLS_PER_MEMORY_SAMPLE == 0:
                peak = max(peak, self._memory())
            polls += 1
            time.sleep(POLL_SECONDS)
        return peak

    def _memory(self) -> int:
        return sum(process.resident_memory() for process in self.target.webs)

    def _clear_recorded(self) -> None:
        self.target.sandbox.twilio.forget_messages()
        self.target.sandbox.recorder.clear()
