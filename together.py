"""Work that many threads want done at once, done in groups by those threads themselves."""

from __future__ import annotations

import itertools
import threading
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

P = TypeVar("P")
R = TypeVar("R")


@dataclass(eq=False)
class _Job(Generic[P]):
    """``woken`` once it is done, or its own thread's to do.

    Those of a lower rank come first, of one rank those that came first.
    """

    piece: P
    rank: tuple[int, int]
    woken: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    result: Any = None
    error: BaseException | None = None


class Together(Generic[P, R]):
    """``work`` gets up to ``most`` pieces, and gives as many results; ``at_once`` threads do it.

    Where it raises, each piece is done alone, but for errors of which any of them would die.
    """

    def __init__(
        self,
        work: Callable[[Sequence[P]], Sequence[R]],
        *,
        most: int,
        at_once: int = 1,
        any_would: tuple[type[BaseException], ...] = (),
    ) -> None:
        self._work = work
        self._most = most
        self._any_would = any_would
        self._lock = threading.Lock()
        self._free = at_once
        self._numbers = itertools.count()
        self._waiting: list[_Job[P]] = []

    def run(self, piece: P, *, rank: int = 0) -> R:
        """What became of a piece; raises what ``work`` raised of it.

        Of those that wait, a lower ``rank`` comes first.
        """
        job = _Job(piece, (rank, next(self._numbers)))
        if self._must_wait(job):
            job.woken.wait()
        if not job.done:
            self._lead(job)
        if job.error:
            raise job.error
        return cast(R, job.result)

    def _must_wait(self, job: _Job[P]) -> bool:
        with self._lock:
            if self._free:
                self._free -= 1
                return False
            insort(self._waiting, job, key=lambda waiting: waiting.rank)
        return True

    def _lead(self, job: _Job[P]) -> None:
        """Do a thread's own piece and some that wait, and leave the rest to the next in line."""
        with self._lock:
            others = self._waiting[: self._most - 1]
            del self._waiting[: self._most - 1]
        try:
            self._do([job, *others])
        finally:
            with self._lock:
                if self._waiting:
                    others.insert(0, self._waiting.pop(0))
                else:
                    self._free += 1
            for other in others:
                other.woken.set()

    def _do(self, jobs: list[_Job[P]]) -> None:
        try:
            results = self._work([job.piece for job in jobs])
            for job, result in zip(jobs, results, strict=True):
                job.result, job.done = result, True
        except BaseException as error:
            if len(jobs) == 1 or isinstance(error, self._any_would):
                for job in jobs:
                    job.error, job.done = error, True
            else:
                for job in jobs:
                    self._do([job])
