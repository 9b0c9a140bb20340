"""Which core a process keeps to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from cores import CORES, CROWDED, OneCore, busy_seconds

SECONDS = 10.0
A_LOT, A_LITTLE = SECONDS * CROWDED * 1.1, SECONDS * CROWDED * 0.9

KEPT = """
import os, threading, time
import cores
go = threading.Event()
early = threading.Thread(target=lambda: go.wait(10))
early.start()
cores.OneCore().start()
late = threading.Thread(target=lambda: go.wait(10))
late.start()
print([len(os.sched_getaffinity(each.native_id)) for each in threading.enumerate()])
go.set()
"""


@dataclass
class Machine:
    """Cores, what they have done so far, and where the process is."""

    busy: dict[int, float] = field(default_factory=lambda: dict.fromkeys(range(4), 100.0))
    own: float = 0.0
    now: float = 0.0
    used: list[set[int]] = field(default_factory=list)
    failing: bool = False

    def use(self, cores: Collection[int]) -> None:
        self.used.append(set(cores))

    def look(self) -> Mapping[int, float]:
        if self.failing:
            raise PermissionError
        return dict(self.busy)

    def process(self) -> OneCore:
        process = OneCore(
            cores=range(4),
            use=self.use,
            busy=self.look,
            own=lambda: self.own,
            clock=lambda: self.now,
        )
        assert process.settle()
        return process

    @property
    def core(self) -> int:
        (core,) = self.used[-1]
        return core

    def work(self, own: float, others: Mapping[int, float]) -> None:
        """``SECONDS`` go by."""
        self.now += SECONDS
        self.own += own
        self.busy[self.core] += own
        for core, seconds in others.items():
            self.busy[core] += seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_it_leaves_a_core_that_others_use(machine: Machine) -> None:
    process = machine.process()
    first, free = machine.core, (machine.core + 1) % 4
    machine.work(1.0, {core: A_LOT for core in range(4) if core != free})
    assert process.look_around()
    assert machine.core == free != first


@pytest.mark.parametrize("share", [A_LITTLE, 0.0])
def test_it_stays_where_others_use_little(machine: Machine, share: float) -> None:
    """Whatever it does itself."""
    process = machine.process()
    machine.work(SECONDS, {machine.core: share})
    assert process.look_around()
    assert len(machine.used) == 1


def test_it_stays_where_all_cores_are_as_busy(machine: Machine) -> None:
    process = machine.process()
    machine.work(1.0, dict.fromkeys(range(4), SECONDS))
    assert process.look_around()
    assert len(machine.used) == 1


def test_what_was_before_the_last_look_does_not_count(machine: Machine) -> None:
    process = machine.process()
    machine.work(1.0, dict.fromkeys(range(4), A_LOT))
    assert process.look_around()
    machine.work(1.0, {machine.core: A_LITTLE})
    assert process.look_around()
    assert len(machine.used) == 1


def test_it_uses_all_cores_where_nobody_tells_what_they_do(machine: Machine) -> None:
    process = machine.process()
    machine.failing = True
    assert not process.look_around()
    assert machine.used[-1] == {0, 1, 2, 3}


@pytest.mark.parametrize("told", [{}, {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0}, {0: 1.0}])
def test_it_uses_all_cores_where_not_all_are_told(machine: Machine, told: dict[int, float]) -> None:
    process = machine.process()
    machine.busy = told
    assert not process.look_around()
    assert machine.used[-1] == {0, 1, 2, 3}


def test_processes_begin_on_different_cores() -> None:
    def first() -> int:
        machine = Machine()
        machine.process()
        return machine.core

    assert len({first() for _ in range(100)}) > 1


def test_a_core_has_worked_for_some_time() -> None:
    assert set(busy_seconds()) >= CORES
    assert all(seconds > 0 for seconds in busy_seconds().values())


def test_threads_stay_on_it_whenever_they_begin() -> None:
    """In a process of its own, lest this one is kept too."""
    done = subprocess.run(
        [sys.executable, "-c", KEPT], env=os.environ, capture_output=True, text=True, check=True
    )
    # Two of ours, the main one, and the one that looks around.
    several = 3 + (len(CORES) > 1)
    assert done.stdout.strip() == str([1] * several)
