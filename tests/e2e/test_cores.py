"""Where a process and its ffmpeg run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cores import CORES
from sandbox.bridge import ROOT
from tests.e2e.conftest import StartCluster, StartWorld
from tests.sandbox.waiting import wait_until

pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="there is but one core")


@pytest.fixture
def busy(tmp_path: Path) -> dict[str, str]:
    """What makes a process count as busy, whatever it does, on a machine that others use too."""
    (tmp_path / "sitecustomize.py").write_text("import cores\ncores.BUSY = 0.0\n", encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}


def threads(process: int) -> Iterator[set[int]]:
    """The cores of each thread of a process and its children."""
    first = psutil.Process(process)
    for each in (first, *first.children(recursive=True)):
        # An ffmpeg, or a thread, that ended meanwhile.
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            for thread in each.threads():
                yield os.sched_getaffinity(thread.id)


def are_together(process: int, *, but: int) -> bool:
    """Whether its threads have one core, the same for all of them, except so many."""
    found = list(threads(process))
    kept = [cores for cores in found if len(cores) == 1]
    return len(kept) == len(found) - but and all(cores == kept[0] for cores in kept)


def test_threads_of_a_busy_process_share_a_core(
    start_world: StartWorld, busy: dict[str, str]
) -> None:
    """But for the one of gunicorn's arbiter, which does nothing."""
    with start_world(**busy) as world:
        wait_until(lambda: are_together(world.bridge.pid, but=1), "the threads on a core")
        user = world.user()
        world.twilio.speak(user, world.note("hello"))
        world.twilio.wait_for_voice(user)
        assert are_together(world.bridge.pid, but=1)
        world.check()


def test_threads_share_all_cores_where_that_is_switched_off(
    start_world: StartWorld, busy: dict[str, str]
) -> None:
    with start_world(**busy, ONE_CORE="false") as world:
        user = world.user()
        world.twilio.speak(user, world.note("hello"))
        world.twilio.wait_for_voice(user)
        assert all(cores == CORES for cores in threads(world.bridge.pid))


def test_workers_share_a_core_each(start_cluster: StartCluster, busy: dict[str, str]) -> None:
    with start_cluster(webs=1, workers=1, **busy) as (_, cluster):
        (web,), (worker,) = cluster.webs, cluster.workers
        wait_until(lambda: are_together(web.pid, but=1), "the web's threads on a core")
        wait_until(lambda: are_together(worker.pid, but=0), "the worker's threads on a core")
