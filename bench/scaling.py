"""The numbers of docs/scaling.md: ``python -m bench.scaling``.

Each number is the median of three runs. ``--quick`` measures less and once, ``--only`` a part.
Nothing is kept.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import acceptance, turns
from bench.acceptance import acknowledgement
from bench.arrivals import Arrivals
from bench.fetching import Backlog, fetching
from bench.pickup import pickup
from bench.table import Table, median_of
from bench.turns import idleness
from sandbox.postgres import Postgres


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    runs: int
    acceptance: acceptance.Plan
    turns: turns.Plan
    messages: int
    backlogs: list[Backlog]
    fetches: int


FULL = Extent(
    runs=3,
    acceptance=acceptance.Plan(
        rates=(20, 80, 160, 240, 320, 400), served_rates=(10, 20, 40), seconds=6.0
    ),
    turns=turns.Plan(counts={"text": 400, "voice": 60}, workers=(1, 2), idle_seconds=5.0),
    messages=25,
    backlogs=[
        Backlog(0, 0),
        Backlog(0, 1000),
        Backlog(0, 10000),
        Backlog(5000, 1000),
    ],
    fetches=15,
)
QUICK = Extent(
    runs=1,
    acceptance=acceptance.Plan(rates=(20,), served_rates=(10,), seconds=1.0),
    turns=turns.Plan(counts={"text": 20}, workers=(1,), idle_seconds=0.5),
    messages=4,
    backlogs=[Backlog(0, 0), Backlog(100, 100)],
    fetches=3,
)


def measurements(
    extent: Extent, folder: Path, server: Postgres, arrivals: Arrivals
) -> Mapping[str, Callable[[], Table]]:
    """By the name that ``--only`` takes."""
    return {
        "fetching": lambda: fetching(extent.backlogs, extent.fetches, server),
        "idle": lambda: idleness(extent.turns, folder, server),
        "pickup": lambda: pickup(extent.messages, folder, server, arrivals),
        "turns": lambda: turns.turns(extent.turns, folder, server, arrivals),
        "acknowledgement": lambda: acknowledgement(extent.acceptance, folder, server, arrivals),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, once")
    parser.add_argument("--only", help="the name of one measurement")
    parser.add_argument("--runs", type=int, help="how often each is made")
    given = parser.parse_args()
    extent = QUICK if given.quick else FULL
    arrivals = Arrivals()
    with tempfile.TemporaryDirectory() as name, Postgres(Path(name)) as server:
        for part, measure in measurements(extent, Path(name), server, arrivals).items():
            if given.only in (None, part):
                print(
                    median_of([measure() for _ in range(given.runs or extent.runs)]),
                    end="\n\n",
                    flush=True,
                )
    arrivals.close()


if __name__ == "__main__":
    main()
