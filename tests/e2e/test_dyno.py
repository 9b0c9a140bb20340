"""What the smallest dyno allows is enough for as many turns at once as are run by default."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import PATIENT, StartCluster, StartDeployment
from tests.e2e.dyno import BUILDPACK, limited_command
from tests.sandbox.waiting import wait_until

pytestmark = pytest.mark.slow

MOST_THREADS = 64
MOST_MEMORY_BYTES = 400 * 1024 * 1024
# So long that all turns are under way at once.
AGENT_SECONDS = 10.0


def test_two_hundred_voice_turns_at_once(start_deployment: StartDeployment) -> None:
    """All are answered by text and by voice."""
    with (
        limited_command("web") as command,
        start_deployment(
            command=command, SPEECH_CACHE_BYTES="0", **PATIENT, **BUILDPACK
        ) as deployment,
    ):
        deployment.add_fault("agentforce", "ask", "hang", seconds=AGENT_SECONDS, times=None)
        users = [deployment.user() for _ in range(200)]
        note = deployment.note("Thanks")
        asked = deployment.sandbox.recorder
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda user: deployment.twilio.speak(user, note), users))
        most = 0

        def all_are_asking() -> bool:
            nonlocal most
            most = max(most, deployment.bridge.threads())
            return len(asked.calls("agentforce", "ask")) >= len(users)

        wait_until(all_are_asking, "all to be asked", timeout=120, every=0.05)
        for user in users:
            assert deployment.twilio.wait_for_voice(user, timeout=120).audio
            most = max(most, deployment.bridge.threads())
        assert most <= MOST_THREADS
        assert deployment.bridge.resident_memory() <= MOST_MEMORY_BYTES
        deployment.check()


def test_a_worker_with_150_turns_at_once(start_cluster: StartCluster) -> None:
    with (
        limited_command("worker") as command,
        start_cluster(webs=1, workers=1, worker_command=command, **BUILDPACK) as (
            deployment,
            cluster,
        ),
    ):
        (worker,) = cluster.workers
        deployment.add_fault("agentforce", "ask", "hang", seconds=AGENT_SECONDS, times=None)
        users = [deployment.user() for _ in range(150)]
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda user: deployment.twilio.say(user, "Thanks"), users))
        asked = deployment.sandbox.recorder
        wait_until(
            lambda: len(asked.calls("agentforce", "ask")) >= len(users), "all to be asked", 120
        )
        assert worker.threads() <= MOST_THREADS
        for user in users:
            deployment.answers(user, 1, timeout=120)
