"""Turns that arrive at once: how late the answers come, and what they take of the machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.arrivals import AT_ONCE, Answers, Arrivals
from bench.costs import cpu_of
from bench.limit import Span
from bench.observed import Observed, Times
from bench.site import Site

RECORDING_SECONDS = 4.0
POLL_SECONDS = 0.1
# Memory is looked at less often: that takes some CPU itself.
POLLS_A_LOOK = 5
# Many times what the slowest turn takes: what is not answered then is lost.
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Burst:
    """``size`` turns; ``wrong`` were not answered, or not once. Memory is in bytes, CPU in seconds.

    ``most_memory`` is what was resident at most, ``memory`` what was in the end.
    """

    size: int
    times: Sequence[Times]
    wrong: int
    cpu_per_turn: float
    most_memory: int
    memory: int
    spans: Sequence[Span]

    @property
    def texts(self) -> list[float]:
        return [times.text for times in self.times]

    @property
    def notes(self) -> list[float]:
        return [times.note for times in self.times if times.note is not None]


@dataclass(frozen=True)
class Thrower:
    """Has strangers write to a bot; each starts a session."""

    site: Site
    arrivals: Arrivals

    def voice_notes(self, size: int) -> Burst:
        return self._throw(size, notes=True)

    def texts(self, size: int) -> Burst:
        return self._throw(size, notes=False)

    def texts_at(self, rate: float, seconds: float) -> Answers:
        """How their webhooks are answered; the turns are left to themselves."""
        count = round(rate * seconds)
        texts = self.site.with_strangers(count).texts(count)
        return self.arrivals.post(self.site.url, texts, rate).result()

    def _throw(self, size: int, *, notes: bool) -> Burst:
        site = self.site.with_strangers(size)
        self._forget()
        webhooks = site.voice_notes(size, seconds=RECORDING_SECONDS) if notes else site.texts(size)
        spent = cpu_of(site.webs)
        posted = self.arrivals.post(site.url, webhooks, AT_ONCE)
        observed = Observed(site, posted.result().began, notes)
        most = self._await(observed)
        if violations := site.sandbox.recorder.violations:
            raise RuntimeError(f"a contract is broken: {violations[0]}")
        return Burst(
            size=size,
            times=observed.times(),
            wrong=observed.wrong(),
            cpu_per_turn=(cpu_of(site.webs) - spent) / size,
            most_memory=most,
            memory=self._memory(),
            spans=observed.spans(),
        )

    def _await(self, observed: Observed) -> int:
        """Wait until all are answered, or no longer; returns the most memory on the way."""
        most, polls, deadline = 0, 0, time.monotonic() + PATIENCE_SECONDS
        while not observed.all_done() and time.monotonic() < deadline:
            if polls % POLLS_A_LOOK == 0:
                most = max(most, self._memory())
            polls += 1
            time.sleep(POLL_SECONDS)
        return most

    def _memory(self) -> int:
        return sum(process.resident_memory() for process in self.site.webs)

    def _forget(self) -> None:
        self.site.sandbox.twilio.forget_messages()
        self.site.sandbox.recorder.clear()
