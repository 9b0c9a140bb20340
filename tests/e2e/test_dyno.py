"""What the smallest dyno allows is enough for as many turns at once as are run by default."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.faults import Fault
from tests.e2e.conftest import PATIENT, StartCluster, StartWorld
from tests.e2e.dyno import BUILDPACK, limited_command
from tests.sandbox.waiting import wait_until

pytestmark = pytest.mark.slow

MOST_THREADS = 64
MOST_MEMORY_BYTES = 400 * 1024 * 1024
# So long that all turns are under way at once.
AGENT_SECONDS = 10.0


def test_two_hundred_voice_turns_at_once(start_world: StartWorld) -> None:
    """All are answered by text and by voice."""
    with (
        limited_command("web") as command,
        start_world(command=command, SPEECH_CACHE_BYTES="0", **PATIENT, **BUILDPACK) as world,
    ):
        agent = Fault("agentforce", "ask", "hang", seconds=AGENT_SECONDS, times=None)
        world.sandbox.faults.add(agent)
        users = [world.user() for _ in range(200)]
        note = world.note("Thanks")
        asked = world.sandbox.ledger
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda user: world.twilio.speak(user, note), users))
        most = 0

        def all_are_asking() -> bool:
            nonlocal most
            most = max(most, world.bridge.threads())
            return len(asked.calls("agentforce", "ask")) >= len(users)

        wait_until(all_are_asking, "all to be asked", timeout=120, every=0.05)
        for user in users:
            assert world.twilio.wait_for_voice(user, timeout=120).audio
            most = max(most, world.bridge.threads())
        assert most <= MOST_THREADS
        assert world.bridge.resident_memory() <= MOST_MEMORY_BYTES
        world.check()


def test_a_worker_with_150_turns_at_once(start_cluster: StartCluster) -> None:
    with (
        limited_command("worker") as command,
        start_cluster(webs=1, workers=1, worker_command=command, **BUILDPACK) as (world, cluster),
    ):
        (worker,) = cluster.workers
        world.sandbox.faults.add(
            Fault("agentforce", "ask", "hang", seconds=AGENT_SECONDS, times=None)
        )
        users = [world.user() for _ in range(150)]
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda user: world.twilio.say(user, "Thanks"), users))
        asked = world.sandbox.ledger
        wait_until(
            lambda: len(asked.calls("agentforce", "ask")) >= len(users), "all to be asked", 120
        )
        assert worker.threads() <= MOST_THREADS
        for user in users:
            world.answers(user, 1, timeout=120)
