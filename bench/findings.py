"""What was measured, and the figures that follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.acceptance import P99_SECONDS
from bench.arrivals import Answers
from bench.bursts import Burst
from bench.limit import Limit


@dataclass(frozen=True)
class Bot:
    """The turns of one bot: single ones, and ``bursts`` of voice turns by their size.

    Times are in seconds; what was measured more than once gives its median.
    """

    voice: Sequence[Burst]
    text: Sequence[Burst]
    bursts: Mapping[int, Sequence[Burst]]

    @property
    def voice_text(self) -> float:
        """The text of a single voice turn."""
        return _median(text for burst in self.voice for text in burst.texts)

    @property
    def note_after_text(self) -> float:
        """The voice note of a single turn, after its text."""
        return _median(times.note_after_text for burst in self.voice for times in burst.times)

    @property
    def text_text(self) -> float:
        """The text of a single text turn."""
        return _median(text for burst in self.text for text in burst.texts)

    def texts(self, size: int) -> tuple[float, float]:
        """Median and worst text of a burst."""
        found = [burst.texts for burst in self._of(size)]
        return _median(map(_median, found)), _median(
            max(texts, default=math.inf) for texts in found
        )

    def notes(self, size: int) -> tuple[float, float]:
        """Median and worst voice note of a burst, after its webhooks."""
        found = [burst.notes for burst in self._of(size)]
        return _median(map(_median, found)), _median(
            max(notes, default=math.inf) for notes in found
        )

    def memory(self, size: int) -> tuple[float, float]:
        """The most in a burst and what stays of it, in MB."""
        bursts = self._of(size)
        most = _median(burst.most_memory for burst in bursts)
        return most / 2**20, _median(burst.memory for burst in bursts) / 2**20

    def cpu(self, size: int) -> float:
        """Milliseconds a turn of a burst."""
        return _median(burst.cpu_per_turn * 1000 for burst in self._of(size))

    @property
    def wrong(self) -> int:
        """How many turns were lost, or answered more than once."""
        bursts = [
            *self.voice,
            *self.text,
            *(each for many in self.bursts.values() for each in many),
        ]
        return sum(burst.wrong for burst in bursts)

    def _of(self, size: int) -> Sequence[Burst]:
        return self.voice if size == 1 else self.bursts[size]


@dataclass(frozen=True)
class Findings:
    """All of it; ``acknowledgements`` are the bridge's by webhooks a second.

    ``load`` is the machine's load average of the minute before.
    """

    limit: Limit
    bridge: Bot
    sequential: Bot
    acknowledgements: Mapping[int, Answers]
    load: float = 0.0

    @property
    def held(self) -> int:
        """The highest rate at which acknowledgements still come in time; 0 where none does."""
        answers = self.acknowledgements.items()
        return max(
            (rate for rate, each in answers if each.percentile(99) <= P99_SECONDS), default=0
        )


def _median(values: Iterable[float]) -> float:
    """``inf`` of none: where no turn was answered."""
    found = list(values)
    return median(found) if found else math.inf
