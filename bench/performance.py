"""The numbers of docs/performance.md: ``python -m bench.performance``.

The bridge, the same providers called one after the other, and what is possible at best; all with
providers as slow as real ones. ``--quick`` measures less, ``--tiny`` only shows that it works.
Nothing is kept without ``--out``.
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

from bench.acceptance import P99_SECONDS
from bench.arrivals import Answers, Arrivals
from bench.bursts import Burst, Thrower
from bench.findings import Bot, Findings
from bench.limit import Limit
from bench.providers import last_sentence, paced_providers, set_latency
from bench.report import printed
from bench.sequential import COMMAND
from bench.site import one_process
from sandbox.latency import REALISTIC, LatencyProfile

# The agent of the acknowledgements: so slow that turns pile up.
SLOW_ASK_SECONDS = 5.0
# A load average above this is not that of an idle machine.
BUSY = 0.5


@dataclass(frozen=True)
class Extent:
    """How much is measured; ``bursts`` are sizes.

    ``rates`` are webhooks a second, each for so many seconds; ``further`` ones are tried up to the
    first that is too high.
    """

    singles: int
    sequential_singles: int
    texts: int
    bursts: Sequence[int]
    sequential_bursts: Sequence[int]
    repeats: int
    rates: dict[int, float]
    further: dict[int, float]
    latency: LatencyProfile = REALISTIC


FULL = Extent(
    singles=7,
    sequential_singles=3,
    texts=5,
    bursts=(10, 50, 200),
    sequential_bursts=(10, 50, 200),
    repeats=3,
    rates={40: 60.0, 80: 60.0, 160: 15.0},
    further={240: 15.0, 320: 15.0},
)
QUICK = Extent(
    singles=2,
    sequential_singles=1,
    texts=1,
    bursts=(10, 50),
    sequential_bursts=(),
    repeats=1,
    rates={80: 2.0},
    further={},
)
TINY = replace(
    QUICK,
    singles=1,
    bursts=(2,),
    sequential_bursts=(2,),
    rates={20: 0.5},
    latency=LatencyProfile(**{call: seconds / 20 for call, seconds in vars(REALISTIC).items()}),
)


class Bench:
    """Measures one thing after the other and says so on stderr."""

    def __init__(self, *, extent: Extent, folder: Path, arrivals: Arrivals) -> None:
        self._extent = extent
        self._folder = folder
        self._arrivals = arrivals
        self._began = time.monotonic()

    def measure(self) -> Findings:
        extent, load = self._extent, os.getloadavg()[0]
        if load > BUSY:
            self._say(f"others use this machine (load average {load:.1f}): times will be too long")
        limit = Limit(extent.latency, last_sentence())
        with self._started("bridge") as thrower:
            bridge = self._bot(thrower, extent.singles, extent.bursts)
        with self._started("providers one after the other", COMMAND) as thrower:
            sequential = self._bot(thrower, extent.sequential_singles, extent.sequential_bursts)
        return Findings(limit, bridge, sequential, dict(self._acknowledgements()), load)

    @contextmanager
    def _started(
        self, name: str, command: Sequence[str] | None = None, **slower: float
    ) -> Iterator[Thrower]:
        self._say(name)
        with one_process(self._folder, providers=paced_providers, command=command) as site:
            thrower = Thrower(site, self._arrivals)
            # Its first turn fetches a token, learns ElevenLabs' plan and opens connections.
            thrower.voice_notes(1)
            set_latency(site.sandbox, replace(self._extent.latency, **slower))
            yield thrower

    def _bot(self, thrower: Thrower, singles: int, sizes: Sequence[int]) -> Bot:
        repeats = self._extent.repeats
        return Bot(
            voice=self._repeated("one voice turn", partial(thrower.voice_notes, 1), singles),
            text=self._repeated("one text turn", partial(thrower.texts, 1), self._extent.texts),
            bursts={
                size: self._repeated(
                    f"{size} voice turns at once", partial(thrower.voice_notes, size), repeats
                )
                for size in sizes
            },
        )

    def _repeated(self, name: str, measure: Callable[[], Burst], times: int) -> list[Burst]:
        self._say(f"  {name}, {times} times" if times > 1 else f"  {name}")
        return [measure() for _ in range(times)]

    def _acknowledgements(self) -> Iterator[tuple[int, Answers]]:
        held = True
        for rate, seconds in (self._extent.rates | self._extent.further).items():
            if held or rate in self._extent.rates:
                answers = self._acknowledged(rate, seconds)
                held = answers.percentile(99) <= P99_SECONDS
                yield rate, answers

    def _acknowledged(self, rate: int, seconds: float) -> Answers:
        """By a bridge of its own, so that no turns are left from another rate."""
        with self._started(f"{rate} webhooks a second", ask=SLOW_ASK_SECONDS) as thrower:
            return thrower.texts_at(rate, seconds)

    def _say(self, step: str) -> None:
        print(f"{time.monotonic() - self._began:4.0f} s  {step}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.performance", description=__doc__)
    less = parser.add_mutually_exclusive_group()
    less.add_argument("--quick", action="store_true", help="less of everything, in under a minute")
    less.add_argument("--tiny", action="store_true", help="only see whether it works")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write performance.md and its pictures there"
    )
    given = parser.parse_args()
    extent = QUICK if given.quick else TINY if given.tiny else FULL
    arrivals = Arrivals()
    with tempfile.TemporaryDirectory() as name:
        found = Bench(extent=extent, folder=Path(name), arrivals=arrivals).measure()
    arrivals.close()
    print(printed(found))
    if given.out:
        # Only those who write pictures need what draws them.
        from bench.document import write  # noqa: PLC0415

        write(found, given.out)


if __name__ == "__main__":
    main()
