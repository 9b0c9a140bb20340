"""Which core a process keeps to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from cores import BUSY, CORES, KEEP_SECONDS, OneCore, busy_seconds

SECONDS = 0.5
LONG = KEEP_SECONDS * 2
ALL = {0, 1, 2, 3}

KEPT = """
import itertools, os, threading
import cores
go = threading.Event()
early = threading.Thread(target=lambda: go.wait(10))
early.start()
kept = cores.OneCore(own=itertools.count().__next__)
kept.look(), kept.look()
late = threading.Thread(target=lambda: go.wait(10))
late.start()
print([len(os.sched_getaffinity(each.native_id)) for each in threading.enumerate()])
go.set()
"""


@dataclass
class Machine:
    """Cores, what they have done so far, and which of them the process uses."""

    worked: dict[int, float] = field(default_factory=lambda: dict.fromkeys(ALL, 100.0))
    own: float = 0.0
    now: float = 0.0
    used: list[set[int]] = field(default_factory=lambda: [ALL])
    failing: bool = False

    def use(self, cores: Collection[int]) -> None:
        self.used.append(set(cores))

    def look(self) -> Mapping[int, float]:
        if self.failing:
            raise PermissionError
        return dict(self.worked)

    def process(self) -> OneCore:
        process = OneCore(
            cores=ALL,
            use=self.use,
            worked=self.look,
            own=lambda: self.own,
            clock=lambda: self.now,
        )
        assert process.look()
        return process

    def work(
        self,
        share: float,
        *,
        of_others: Mapping[int, float] | None = None,
        seconds: float = SECONDS,
    ) -> None:
        """Time goes by; the process had this share of a core, others these ones of each."""
        self.now += seconds
        self.own += share * seconds
        for core in self.used[-1]:
            self.worked[core] += share * seconds / len(self.used[-1])
        for core, others in (of_others or {}).items():
            self.worked[core] += others * seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_it_keeps_to_the_least_used_core_while_it_is_busy(machine: Machine) -> None:
    process = machine.process()
    for _ in range(5):
        machine.work(1.0, of_others={0: 0.4, 1: 0.1, 2: 0.3, 3: 0.2})
        assert process.look()
    assert machine.used == [ALL, {1}]


@pytest.mark.parametrize("share", [0.0, BUSY - 0.01])
def test_it_uses_all_cores_while_it_has_less_to_do(machine: Machine, share: float) -> None:
    process = machine.process()
    for _ in range(5):
        machine.work(share)
        assert process.look()
    assert machine.used == [ALL]


def test_a_short_pause_does_not_move_it(machine: Machine) -> None:
    process = machine.process()
    for share in (1.0, 0.1, 1.0, 0.1):
        machine.work(share)
        assert process.look()
    assert len(machine.used) == 2


def test_it_uses_all_cores_again_some_time_after_it_was_busy(machine: Machine) -> None:
    process = machine.process()
    machine.work(1.0)
    assert process.look()
    machine.work(0.5, seconds=LONG)
    assert process.look()
    assert machine.used[-1] == ALL


def test_it_leaves_a_core_that_others_took_up(machine: Machine) -> None:
    process = machine.process()
    machine.work(1.0, of_others={0: 0.0, 1: 0.5, 2: 1.0, 3: 1.0})
    assert process.look()
    assert machine.used[-1] == {0}
    machine.work(0.6, of_others={0: 0.4}, seconds=LONG)
    assert process.look()
    machine.work(1.0, of_others={0: 0.4, 1: 0.0, 2: 1.0, 3: 1.0})
    assert process.look()
    assert machine.used[-1] == {1}


def test_it_uses_all_cores_where_nobody_tells_what_they_do(machine: Machine) -> None:
    process = machine.process()
    machine.work(1.0)
    assert process.look()
    machine.failing = True
    assert not process.look()
    assert machine.used[-1] == ALL


@pytest.mark.parametrize("told", [{}, {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0}, {0: 1.0}])
def test_it_uses_all_cores_where_not_all_are_told(machine: Machine, told: dict[int, float]) -> None:
    process = machine.process()
    machine.worked = told
    assert not process.look()
    assert machine.used[-1] == ALL


def test_processes_of_an_idle_machine_begin_apart() -> None:
    def first() -> int:
        machine = Machine()
        process = machine.process()
        machine.work(1.0)
        assert process.look()
        (core,) = machine.used[-1]
        return core

    assert len({first() for _ in range(100)}) > 1


def test_a_core_has_worked_for_some_time() -> None:
    assert set(busy_seconds()) >= CORES
    assert all(seconds > 0 for seconds in busy_seconds().values())


def test_threads_stay_on_it_whenever_they_begin() -> None:
    """In a process of its own, lest this one is kept too."""
    done = subprocess.run(
        [sys.executable, "-c", KEPT], env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str([1] * 3)
