"""Benchmark results, and the statistics that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.acknowledgement import P99_SECONDS
from bench.burst import Burst
from bench.critical_path import CriticalPath
from bench.load_generator import ResponseTimes


@dataclass(frozen=True)
class BotResults:
    """The measured turns of one bot: single ones, and ``bursts`` of voice turns by their size.

    Times are in seconds. Repeated measurements are summarised by their median.
    """

    voice: Sequence[Burst]
    text: Sequence[Burst]
    bursts: Mapping[int, Sequence[Burst]]

    @property
    def voice_text(self) -> float:
        """The text answer of a single voice turn."""
        return _median(text for burst in self.voice for text in burst.texts)

    @property
    def note_after_text(self) -> float:
        """The voice note of a single turn, after its text."""
        return _median(times.note_after_text for burst in self.voice for times in burst.times)

    @property
    def text_text(self) -> float:
        """The text answer of a single text turn."""
        return _median(text for burst in self.text for text in burst.texts)

    def texts(self, size: int) -> tuple[float, float]:
        """Median and worst text answer in bursts of ``size``."""
        return _median_and_worst([burst.texts for burst in self._bursts(size)])

    def notes(self, size: int) -> tuple[float, float]:
        """Median and worst voice note in bursts of ``size``, after the webhooks."""
        return _median_and_worst([burst.notes for burst in self._bursts(size)])

    def memory(self, size: int) -> tuple[float, float]:
        """Peak and final memory of bursts of ``size``, in MB."""
        bursts = self._bursts(size)
        peak = _median(burst.peak_memory for burst in bursts)
        return peak / 2**20, _median(burst.final_memory for burst in bursts) / 2**20

    def cpu(self, size: int) -> float:
        """CPU milliseconds per turn in bursts of ``size``."""
        return _median(burst.cpu_per_turn * 1000 for burst in self._bursts(size))

    @property
    def wrong(self) -> int:
        """How many turns were not answered exactly once."""
        bursts = [
            *self.voice,
            *self.text,
            *(burst for repeats in self.bursts.values() for burst in repeats),
        ]
        return sum(burst.wrong for burst in bursts)

    def _bursts(self, size: int) -> Sequence[Burst]:
        return self.voice if size == 1 else self.bursts[size]


@dataclass(frozen=True)
class Results:
    """All results; ``acknowledgements`` are those of the bridge, by webhooks per second.

    ``load_average`` is the machine's in the minute before the benchmark. ``speed_ratio`` is how
    many times faster the machine was at its fastest moment than at its slowest.
    """

    critical_path: CriticalPath
    bridge: BotResults
    sequential: BotResults
    acknowledgements: Mapping[int, ResponseTimes]
    load_average: float = 0.0
    speed_ratio: float = 1.0

    @property
    def highest_rate(self) -> int:
        """The highest rate that is acknowledged within ``P99_SECONDS``; 0 if there is none."""
        rates = self.acknowledgements.items()
        return max(
            (rate for rate, times in rates if times.percentile(99) <= P99_SECONDS), default=0
        )


def _median_and_worst(bursts: Sequence[Sequence[float]]) -> tuple[float, float]:
    worst = (max(times, default=math.inf) for times in bursts)
    return _median(map(_median, bursts)), _median(worst)


def _median(values: Iterable[float]) -> float:
    """``inf`` if there are no values, which means that no turn was answered."""
    numbers = list(values)
    return median(numbers) if numbers else math.inf
