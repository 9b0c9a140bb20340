"""``python -m sandbox.soak``: thousands of text turns, and whether the bridge grows with them."""

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
from sandbox.soak.footprint import Footprint, excesses, footprint
from sandbox.soak.load import ECHO, Load, Unanswered
from sandbox.speech.fixture import FixtureSpeech

FOLDER = ROOT / ".state/soak"
# What comes after the first block is compared with it.
BLOCK = 2000
USERS = 500
# Whoever is told that it takes a while would get a second message.
SETTINGS = {
    "STILL_WORKING_AFTER": "600",
    "SENDER_TURNS_PER_MINUTE": "0",
    "SENDER_TURNS_PER_DAY": "0",
}
HEADER = "   turns  turns/s     memory  threads  descriptors  sockets  database connections"

# The processes, and how many connections their database counts.
Soaked = tuple[Sequence[Process], Callable[[], int]]


def main() -> None:
    arguments = _arguments()
    # So that a bridge is not left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        complaints = _soak(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except (BridgeDied, PostgresDied, Unanswered) as problem:
        sys.exit(f"Failed: {problem}.")
    if complaints:
        sys.exit(f"Failed: {', '.join(complaints)}.")
    print("Passed.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.soak", description=__doc__)
    parser.add_argument("--turns", type=int, metavar="N", default=20_000)
    parser.add_argument(
        "--cluster", action="store_true", help="two webs and two workers on PostgreSQL"
    )
    parser.add_argument(
        "--growth", type=float, metavar="PERCENT", default=5.0, help="what memory must stay below"
    )
    parser.add_argument(
        "--folder", type=Path, metavar="PATH", default=FOLDER, help="where logs are kept"
    )
    arguments = parser.parse_args()
    if arguments.turns < 2:
        parser.error("--turns must be at least 2")
    return arguments


def _soak(arguments: argparse.Namespace) -> list[str]:
    """What is wrong with the bridge in the end."""
    shutil.rmtree(arguments.folder, ignore_errors=True)
    start = _start_cluster if arguments.cluster else _start_alone
    with (
        Sandbox(speech=FixtureSpeech(), helpdesk_file=ECHO) as sandbox,
        start(sandbox, arguments.folder) as soaked,
    ):
        first, *_, last = _footprints(sandbox, soaked, arguments.turns)
    grown = (last.memory / first.memory - 1) * 100
    print(f"{arguments.turns:,} turns, each answered once; memory {grown:+.1f} %")
    return excesses(first, last, growth=arguments.growth)


def _footprints(sandbox: Sandbox, soaked: Soaked, turns: int) -> Iterator[Footprint]:
    """After each block of turns, all answered."""
    block = min(BLOCK, turns // 2)
    users = min(USERS, block)
    load = Load(sandbox=sandbox, users=users)
    print(HEADER, flush=True)
    for start in range(0, turns, block):
        numbers = range(start, min(start + block, turns))
        together = users if start == 0 else 0
        began = time.monotonic()
        load.write_together(numbers[:together])
        load.write(numbers[together:], at_once=max(1, users // 10))
        speed = len(numbers) / (time.monotonic() - began)
        found = footprint(*soaked)
        load.check()
        print(_line(numbers.stop, speed, found), flush=True)
        yield found


def _line(turns: int, speed: float, found: Footprint) -> str:
    return (
        f"{turns:8,}  {speed:7.1f}  {found.memory / 2**20:6.1f} MB  {found.threads:7}"
        f"  {found.descriptors:11}  {found.sockets:7}  {found.connections:20}"
    )


@contextmanager
def _start_alone(sandbox: Sandbox, folder: Path) -> Iterator[Soaked]:
    bridge = Bridge(log_file=folder / "bridge.log")
    sandbox.connect(bridge.url)
    bridge.settings = sandbox.environment(bridge.url) | SETTINGS
    try:
        bridge.start()
        yield [bridge], lambda: 0
    finally:
        bridge.kill()


@contextmanager
def _start_cluster(sandbox: Sandbox, folder: Path) -> Iterator[Soaked]:
    with Postgres(folder) as server:
        cluster = Cluster(folder=folder, database_url=server.database("soak"))
        # Every process fetches a token of its own.
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
