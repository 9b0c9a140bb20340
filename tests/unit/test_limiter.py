"""A gate that lets so many through at once, in the order they came."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from limiter import Limiter

PATIENCE = 10.0


class Visitors:
    """Threads that enter a limiter one after the other and stay until they are let go."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.changed = threading.Condition()
        self.inside: list[int] = []
        self.entered: list[int] = []
        self.leave = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []

    def come(self, count: int) -> None:
        for _ in range(count):
            number = len(self.threads)
            thread = threading.Thread(target=self._visit, args=(number,), daemon=True)
            self.threads.append(thread)
            thread.start()
            # The next may come once this one is inside or in the queue.
            self.wait_until(lambda number=number: self._arrived(number + 1))

    def wait_until(self, holds: object) -> None:
        with self.changed:
            assert self.changed.wait_for(holds, PATIENCE)  # type: ignore[arg-type]

    def _arrived(self, count: int) -> bool:
        self.changed.wait(0.001)
        return len(self.entered) + len(self.limiter._queue) >= count

    def _visit(self, number: int) -> None:
        with self.limiter:
            with self.changed:
                self.inside.append(number)
                self.entered.append(number)
                self.changed.notify_all()
            self.leave.acquire()
            with self.changed:
                self.inside.remove(number)
                self.changed.notify_all()


def test_no_more_than_the_size_are_inside() -> None:
    visitors = Visitors(Limiter(2))
    visitors.come(5)
    assert sorted(visitors.inside) == [0, 1]


def test_who_came_first_enters_first() -> None:
    visitors = Visitors(Limiter(1))
    visitors.come(4)
    visitors.leave.release(4)
    visitors.wait_until(lambda: len(visitors.entered) == 4 and not visitors.inside)
    assert visitors.entered == [0, 1, 2, 3]


def test_a_wider_gate_lets_those_who_wait_in() -> None:
    visitors = Visitors(Limiter(1))
    visitors.come(4)
    visitors.limiter.resize(3)
    visitors.wait_until(lambda: len(visitors.inside) == 3)
    assert sorted(visitors.inside) == [0, 1, 2]


def test_a_narrower_gate_waits_until_enough_have_left() -> None:
    visitors = Visitors(Limiter(3))
    visitors.come(5)
    visitors.limiter.resize(0)
    visitors.leave.release(2)
    visitors.wait_until(lambda: len(visitors.inside) == 1)
    assert len(visitors.entered) == 3
    visitors.leave.release(3)
    visitors.wait_until(lambda: len(visitors.entered) == 5 and not visitors.inside)


def test_a_place_is_freed_by_an_error_too() -> None:
    limiter = Limiter(1)

    def fail() -> None:
        with limiter:
            raise ValueError

    with ThreadPoolExecutor(4) as pool:
        failures = [pool.submit(fail).exception(PATIENCE) for _ in range(20)]
    assert all(isinstance(failure, ValueError) for failure in failures)
