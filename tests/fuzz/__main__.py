"""Posts random bodies to the running server: ``python -m tests.fuzz``.

It fails where one is answered with 5xx or not at all, where something of it is in the log, and
where the server grows: after the first tenth, by more than 5 % or a thread.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from hypothesis import HealthCheck, Phase, given, seed, settings

from sandbox import CREDENTIALS
from sandbox.bridge import Bridge, procfile_command
from tests.fuzz.bodies import addresses, bodies, said
from tests.leaks import Known, static_leaks

COMMAND = [
    part.replace("app:create_app()", "tests.fuzz.quiet_bridge:create_app()")
    for part in procfile_command("web")
]
HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}
# Hypothesis remembers every example, so each round is a run of its own.
ROUND = 1000
MOST_GROWTH = 1.05


class Failed(Exception):
    """The server did something wrong; the message says what."""


class Fuzzer:
    """Posts to one server and counts its answers."""

    def __init__(self, bridge: Bridge) -> None:
        self.answers: Counter[int] = Counter()
        self._bridge = bridge
        self._connection = http.client.HTTPConnection("127.0.0.1", bridge.port, timeout=30)
        self._read = 0

    def round(self, number: int) -> None:
        """Post the bodies of one round. Raises ``Failed``."""
        texts: set[str] = set()

        @seed(number)
        @settings(
            max_examples=ROUND,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(address=addresses(), body=bodies())
        def post(address: str, body: bytes) -> None:
            status = self._post(address, body)
            self.answers[status] += 1
            if status >= 500:
                raise Failed(f"{status} for {body[:500]!r} at {address}")
            texts.update(said(body))

        post()
        self._search_log(texts)

    def _post(self, address: str, body: bytes) -> int:
        try:
            self._connection.request("POST", address, body, HEADERS)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Failed(f"{type(error).__name__} for {body[:500]!r} at {address}") from error
        return answer.status

    def _search_log(self, texts: set[str]) -> None:
        """Raise ``Failed`` if the log of this round quotes one of the texts."""
        logged = self._bridge.log()[self._read :]
        self._read += len(logged)
        found = static_leaks(logged) + Known(texts=texts).leaks_in(logged)
        if found:
            raise Failed("\n".join(found[:10]))


def environment(bridge: Bridge) -> dict[str, str]:
    """Settings with provider addresses that are never called."""
    return CREDENTIALS | {
        "SALESFORCE_INSTANCE_URL": "http://127.0.0.1:9",
        "PUBLIC_URL": bridge.url,
        "UNSIGNED_LOCAL_WEBHOOKS": "true",
        "KEEP_WARM": "false",
        "LOG_LEVEL": "DEBUG",
    }


def _fill_pools(bridge: Bridge) -> None:
    """Post large bodies until every thread has had some, before memory is measured."""
    body = f"Body={'%D9%84' * 20_000}"
    with ThreadPoolExecutor(100) as pool:
        for _ in range(1000):
            pool.submit(requests.post, bridge.url, data=body, headers=HEADERS, timeout=60)


def fuzz(count: int, folder: Path) -> None:
    """Post so many bodies to a new server. Raises ``Failed``."""
    bridge = Bridge(log_file=folder / "log", command=COMMAND)
    bridge.settings = environment(bridge)
    rounds, began = max(count // ROUND, 10), time.monotonic()
    with bridge:
        _fill_pools(bridge)
        fuzzer = Fuzzer(bridge)
        for number in range(1, rounds + 1):
            fuzzer.round(number)
            if number == rounds // 10:
                memory, threads = bridge.resident_memory(), bridge.threads()
            if number % (rounds // 10) == 0:
                print(
                    f"{number * ROUND:,} bodies in {time.monotonic() - began:.0f} s: "
                    f"{dict(sorted(fuzzer.answers.items()))}, "
                    f"{bridge.resident_memory() / 1e6:.1f} MB, {bridge.threads()} threads",
                    flush=True,
                )
        growth = bridge.resident_memory() / memory
        if growth > MOST_GROWTH or bridge.threads() > threads:
            raise Failed(f"memory × {growth:.3f}, {threads} → {bridge.threads()} threads")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--bodies", type=int, default=100_000)
    given_ = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            fuzz(given_.bodies, Path(folder))
        except Failed as failed:
            sys.exit(f"Failed: {failed}")
    print("No 5xx, no leak, no growth.")


if __name__ == "__main__":
    main()
