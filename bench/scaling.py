"""The benchmark behind docs/scaling.md: ``python -m bench.scaling``.

Each number is the median of three runs. ``--quick`` measures less and only once, ``--only`` runs a
single measurement. Nothing is written to a file.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import acknowledgement, turn_cpu
from bench.acknowledgement import measure_acknowledgement
from bench.claiming import Backlog, measure_claiming
from bench.load_generator import LoadGenerator
from bench.pickup import measure_pickup
from bench.table import Table, median_of
from bench.turn_cpu import measure_idle_cpu, measure_turn_cpu
from sandbox.postgres import Postgres


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    runs: int
    acknowledgement: acknowledgement.Plan
    turns: turn_cpu.Plan
    messages: int
    backlogs: list[Backlog]
    claims: int


FULL = Plan(
    runs=3,
    acknowledgement=acknowledgement.Plan(
        rates=(20, 80, 160, 240, 320, 400), served_rates=(10, 20, 40), seconds=6.0
    ),
    turns=turn_cpu.Plan(counts={"text": 400, "voice": 60}, workers=(1, 2), idle_seconds=5.0),
    messages=25,
    backlogs=[
        Backlog(0, 0),
        Backlog(0, 1000),
        Backlog(0, 10000),
        Backlog(5000, 1000),
    ],
    claims=15,
)
QUICK = Plan(
    runs=1,
    acknowledgement=acknowledgement.Plan(rates=(20,), served_rates=(10,), seconds=1.0),
    turns=turn_cpu.Plan(counts={"text": 20}, workers=(1,), idle_seconds=0.5),
    messages=4,
    backlogs=[Backlog(0, 0), Backlog(100, 100)],
    claims=3,
)


def measurements(
    plan: Plan, folder: Path, server: Postgres, load_generator: LoadGenerator
) -> Mapping[str, Callable[[], Table]]:
    """By the name that ``--only`` takes."""
    return {
        "claiming": lambda: measure_claiming(plan.backlogs, plan.claims, server),
        "idle": lambda: measure_idle_cpu(plan.turns, folder, server),
        "pickup": lambda: measure_pickup(plan.messages, folder, server, load_generator),
        "turns": lambda: measure_turn_cpu(plan.turns, folder, server, load_generator),
        "acknowledgement": lambda: measure_acknowledgement(
            plan.acknowledgement, folder, server, load_generator
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure less, and only once")
    parser.add_argument("--only", help="the name of one measurement")
    parser.add_argument("--runs", type=int, help="how often to repeat each measurement")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    load_generator = LoadGenerator()
    with tempfile.TemporaryDirectory() as name, Postgres(Path(name)) as server:
        for part, measure in measurements(plan, Path(name), server, load_generator).items():
            if arguments.only in (None, part):
                tables = [measure() for _ in range(arguments.runs or plan.runs)]
                print(median_of(tables), end="\n\n", flush=True)
    load_generator.close()


if __name__ == "__main__":
    main()
