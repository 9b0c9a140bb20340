"""``python -m sandbox.soak``: thousands of text turns, to find leaks in the bridge."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox import Sandbox
from sandbox.bridge import ROOT, Bridge, BridgeDied, Process
from sandbox.cluster import Cluster
from sandbox.postgres import Postgres, PostgresDied
from sandbox.soak.footprint import Footprint, find_growth, measure_footprint
from sandbox.soak.load import ECHO, LoadGenerator, SoakFailed
from sandbox.speech.fixture import FixtureSpeech

FOLDER = ROOT / ".state/soak"
# Turns per block. The footprint after the last block is compared with that after the first.
BLOCK = 2000
USERS = 500
SETTINGS = {
    # A "still working" message would be a second answer.
    "STILL_WORKING_AFTER": "600",
    "SENDER_TURNS_PER_MINUTE": "0",
    "SENDER_TURNS_PER_DAY": "0",
}
HEADER = "   turns  turns/s     memory  threads  descriptors  sockets  database connections"

# The bridge's processes, and a function that counts the connections to their database.
Target = tuple[Sequence[Process], Callable[[], int]]


def main() -> None:
    arguments = _arguments()
    # Raises KeyboardInterrupt, so that the bridge is stopped too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        problems = _run(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except (BridgeDied, PostgresDied, SoakFailed) as error:
        sys.exit(f"Failed: {error}.")
    if problems:
        sys.exit(f"Failed: {', '.join(problems)}.")
    print("Passed.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.soak", description=__doc__)
    parser.add_argument("--turns", type=int, metavar="N", default=20_000)
    parser.add_argument(
        "--cluster", action="store_true", help="two webs and two workers on PostgreSQL"
    )
    parser.add_argument(
        "--growth",
        type=float,
        metavar="PERCENT",
        default=5.0,
        help="fail if memory grows by this percentage or more",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="PATH", default=FOLDER, help="the folder for the logs"
    )
    arguments = parser.parse_args()
    if arguments.turns < 2:
        parser.error("--turns must be at least 2")
    return arguments


def _run(arguments: argparse.Namespace) -> list[str]:
    """Run the soak test; returns the resources that grew too much. Raises ``SoakFailed``."""
    shutil.rmtree(arguments.folder, ignore_errors=True)
    start = _start_cluster if arguments.cluster else _start_single
    with (
        Sandbox(speech=FixtureSpeech(), helpdesk_file=ECHO) as sandbox,
        start(sandbox, arguments.folder) as target,
    ):
        first, *_, last = _run_blocks(sandbox, target, arguments.turns)
    grown = (last.memory / first.memory - 1) * 100
    print(f"{arguments.turns:,} turns, each answered once; memory {grown:+.1f} %")
    return find_growth(first, last, memory_percent=arguments.growth)


def _run_blocks(sandbox: Sandbox, target: Target, turns: int) -> Iterator[Footprint]:
    """Run all turns, in blocks; yields the footprint after each block."""
    block = min(BLOCK, turns // 2)
    users = min(USERS, block)
    load_generator = LoadGenerator(sandbox=sandbox, users=users)
    print(HEADER, flush=True)
    for start in range(0, turns, block):
        numbers = range(start, min(start + block, turns))
        warm_up = users if start == 0 else 0
        began = time.monotonic()
        load_generator.warm_up(numbers[:warm_up])
        load_generator.write(numbers[warm_up:], at_once=max(1, users // 10))
        turns_per_second = len(numbers) / (time.monotonic() - began)
        footprint = measure_footprint(*target)
        load_generator.check()
        print(_line(numbers.stop, turns_per_second, footprint), flush=True)
        yield footprint


def _line(turns: int, turns_per_second: float, footprint: Footprint) -> str:
    return (
        f"{turns:8,}  {turns_per_second:7.1f}  {footprint.memory / 2**20:6.1f} MB"
        f"  {footprint.threads:7}  {footprint.descriptors:11}  {footprint.sockets:7}"
        f"  {footprint.connections:20}"
    )


@contextmanager
def _start_single(sandbox: Sandbox, folder: Path) -> Iterator[Target]:
    bridge = Bridge(log_file=folder / "bridge.log")
    sandbox.connect(bridge.url)
    bridge.settings = sandbox.environment(bridge.url) | SETTINGS
    try:
        bridge.start()
        yield [bridge], lambda: 0
    finally:
        bridge.kill()


@contextmanager
def _start_cluster(sandbox: Sandbox, folder: Path) -> Iterator[Target]:
    with Postgres(folder) as server:
        cluster = Cluster(folder=folder, database_url=server.database("soak"))
        # Every process fetches its own token.
        sandbox.agentforce.token_clients = len(cluster.processes)
        sandbox.connect(cluster.url)
        cluster.settings = sandbox.environment(cluster.url) | SETTINGS
        cluster.start()
        try:
            yield cluster.processes, lambda: server.connections("soak")
        finally:
            cluster.kill()


if __name__ == "__main__":
    main()
