"""The benchmark behind docs/performance.md: ``python -m bench.performance``.

It measures the bridge and a sequential bot, and calculates the theoretical limit, all with
realistic provider latencies. ``--quick`` measures less, ``--tiny`` only shows that it works.
Results are written to files only with ``--out``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench.acknowledgement import P99_SECONDS
from bench.burst import Burst, BurstRunner
from bench.critical_path import CriticalPath
from bench.load_generator import LoadGenerator, ResponseTimes
from bench.machine_speed import loops_per_second
from bench.providers import configurable_providers, last_sentence_length, set_latency
from bench.report import as_text
from bench.results import BotResults, Results
from bench.sequential import COMMAND
from bench.target import single_process
from sandbox.latency import REALISTIC, LatencyProfile

T = TypeVar("T")

# The agent's latency while acknowledgements are measured: so slow that turns pile up.
SLOW_ASK_SECONDS = 5.0
# A higher load average means that other programs use the machine.
MAX_LOAD_AVERAGE = 0.5
# Times and marks of runs in which the machine's speed varied more are not comparable.
MAX_SPEED_RATIO = 1.25


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    ``bursts`` and ``sequential_bursts`` are numbers of turns at once, each measured ``repeats``
    times. ``rates`` are webhooks per second with the seconds to keep each up; ``optional_rates``
    are tried in turn, up to the first that is too high.
    """

    voice_turns: int
    sequential_turns: int
    text_turns: int
    bursts: Sequence[int]
    sequential_bursts: Sequence[int]
    repeats: int
    rates: dict[int, float]
    optional_rates: dict[int, float]
    latency: LatencyProfile = REALISTIC


FULL = Plan(
    voice_turns=7,
    sequential_turns=3,
    text_turns=5,
    bursts=(10, 50, 200),
    sequential_bursts=(10, 50, 200),
    repeats=3,
    rates={40: 60.0, 80: 60.0, 160: 15.0},
    optional_rates={240: 15.0, 320: 15.0},
)
QUICK = Plan(
    voice_turns=2,
    sequential_turns=1,
    text_turns=1,
    bursts=(10, 50),
    sequential_bursts=(),
    repeats=1,
    rates={80: 2.0},
    optional_rates={},
)
TINY = replace(
    QUICK,
    voice_turns=1,
    bursts=(2,),
    sequential_bursts=(2,),
    rates={20: 0.5},
    latency=LatencyProfile(**{call: seconds / 20 for call, seconds in vars(REALISTIC).items()}),
)


class Benchmark:
    """Runs all measurements of a plan, and reports its progress on stderr."""

    def __init__(self, *, plan: Plan, folder: Path, load_generator: LoadGenerator) -> None:
        self._plan = plan
        self._folder = folder
        self._load_generator = load_generator
        self._began = time.monotonic()
        # The speed of the machine after each measurement.
        self._speeds = [loops_per_second()]

    def run(self) -> Results:
        plan, load_average = self._plan, os.getloadavg()[0]
        if load_average > MAX_LOAD_AVERAGE:
            self._log(
                f"other programs use this machine (load average {load_average:.1f}): times will be"
                " too long"
            )
        critical_path = CriticalPath(plan.latency, last_sentence_length())
        with self._start_bot("bridge") as runner:
            bridge = self._measure_bot(runner, plan.voice_turns, plan.bursts)
        with self._start_bot("providers one after the other", COMMAND) as runner:
            sequential = self._measure_bot(runner, plan.sequential_turns, plan.sequential_bursts)
        acknowledgements = dict(self._measure_acknowledgements())
        speed_ratio = max(self._speeds) / min(self._speeds)
        if speed_ratio > MAX_SPEED_RATIO:
            self._log(
                f"the fastest moment of this machine was {speed_ratio:.1f} times as fast as its "
                "slowest: measure again"
            )
        return Results(
            critical_path, bridge, sequential, acknowledgements, load_average, speed_ratio
        )

    @contextmanager
    def _start_bot(
        self, name: str, command: Sequence[str] | None = None, **latency: float
    ) -> Iterator[BurstRunner]:
        """Start a bot; ``latency`` replaces single values of the plan's latency profile."""
        self._log(name)
        with single_process(
            self._folder, providers=configurable_providers, command=command
        ) as target:
            runner = BurstRunner(target, self._load_generator)
            # The first turn fetches a token, learns ElevenLabs' plan and opens connections.
            runner.voice_notes(1)
            set_latency(target.sandbox, replace(self._plan.latency, **latency))
            yield runner

    def _measure_bot(
        self, runner: BurstRunner, voice_turns: int, sizes: Sequence[int]
    ) -> BotResults:
        repeats = self._plan.repeats
        return BotResults(
            voice=self._repeat("one voice turn", partial(runner.voice_notes, 1), voice_turns),
            text=self._repeat("one text turn", partial(runner.texts, 1), self._plan.text_turns),
            bursts={
                size: self._repeat(
                    f"{size} voice turns at once", partial(runner.voice_notes, size), repeats
                )
                for size in sizes
            },
        )

    def _repeat(self, name: str, measure: Callable[[], Burst], times: int) -> list[Burst]:
        self._log(f"  {name}, {times} times" if times > 1 else f"  {name}")
        return [self._measure(measure) for _ in range(times)]

    def _measure(self, measure: Callable[[], T]) -> T:
        result = measure()
        self._speeds.append(loops_per_second())
        return result

    def _measure_acknowledgements(self) -> Iterator[tuple[int, ResponseTimes]]:
        sustained = True
        for rate, seconds in (self._plan.rates | self._plan.optional_rates).items():
            if sustained or rate in self._plan.rates:
                times = self._measure_rate(rate, seconds)
                sustained = times.percentile(99) <= P99_SECONDS
                yield rate, times

    def _measure_rate(self, rate: int, seconds: float) -> ResponseTimes:
        """Measure with a new bridge, so that no turns of an earlier rate are left."""
        with self._start_bot(f"{rate} webhooks a second", ask=SLOW_ASK_SECONDS) as runner:
            return self._measure(partial(runner.texts_at, rate, seconds))

    def _log(self, step: str) -> None:
        print(f"{time.monotonic() - self._began:4.0f} s  {step}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.performance", description=__doc__)
    less = parser.add_mutually_exclusive_group()
    less.add_argument("--quick", action="store_true", help="measure less, in under a minute")
    less.add_argument("--tiny", action="store_true", help="only see whether it works")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write performance.md and its charts there"
    )
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else TINY if arguments.tiny else FULL
    load_generator = LoadGenerator()
    with tempfile.TemporaryDirectory() as name:
        results = Benchmark(plan=plan, folder=Path(name), load_generator=load_generator).run()
    load_generator.close()
    print(as_text(results))
    if arguments.out:
        # matplotlib is needed only to write the charts.
        from bench.performance_page import write_page  # noqa: PLC0415

        write_page(results, arguments.out)


if __name__ == "__main__":
    main()
