"""One core for a busy interpreter, which passes its lock on faster there than from core to core."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

# What this process was given. ffmpeg has all of it.
CORES = frozenset(os.sched_getaffinity(0))
LOOK_SECONDS = 0.5
# The part of a core that a process in need of all of it gets.
BUSY = 0.95
# For so long after it was busy, a process keeps its core.
KEEP_SECONDS = 5.0

_STAT = Path("/proc/stat")
_TICKS = os.sysconf("SC_CLK_TCK")


def use(cores: Collection[int]) -> None:
    """Run the threads that there are, and those to come, on these cores only."""
    # Again, for those that others began meanwhile.
    for _ in range(2):
        for thread in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)


def busy_seconds() -> dict[int, float]:
    """How long each core has worked, for whomever. Raises ``OSError``."""
    found = {}
    for line in _STAT.read_text(encoding="ascii").splitlines():
        name, *ticks = line.split()
        if name.removeprefix("cpu").isdigit():
            # All but idling and waiting for disks (proc(5)); what guests took is in the first.
            worked = [int(each) for place, each in enumerate(ticks[:8]) if place not in (3, 4)]
            found[int(name.removeprefix("cpu"))] = sum(worked) / _TICKS
    return found


@dataclass(frozen=True)
class _Seen:
    """At this time this process had used so much, and each core worked so long; all in seconds."""

    at: float
    own: float
    cores: Mapping[int, float]


class OneCore:
    """Keeps this process on one core while it is busy: on the one used least when that begins.

    Where others use it too, the process gets less, is no longer busy, and chooses again.
    """

    def __init__(
        self,
        *,
        cores: Collection[int] = CORES,
        use: Callable[[Collection[int]], None] = use,
        worked: Callable[[], Mapping[int, float]] = busy_seconds,
        own: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cores = frozenset(cores)
        self._use = use
        self._worked = worked
        self._own = own
        self._clock = clock
        self._before: _Seen | None = None
        self._kept_until: float | None = None

    def start(self) -> None:
        """Begin; nothing happens where there is but one core, or nobody tells what they do."""
        if len(self._cores) > 1 and self.look():
            threading.Thread(target=self._watch, name="core", daemon=True).start()

    def look(self) -> bool:
        """Act by what was done since the last look; ``False`` where that cannot be told."""
        try:
            before, self._before = self._before, self._see()
            if before:
                self._act(before, self._before)
        except OSError as error:
            log.warning("Not kept on one core", error=type(error).__name__)
            with suppress(OSError):
                self._use(self._cores)
            return False
        return True

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            if not self.look():
                return

    def _see(self) -> _Seen:
        worked = self._worked()
        # Some sandboxes show a file of zeros.
        if not all(worked.get(core) for core in self._cores):
            raise OSError("a core has never worked")
        return _Seen(self._clock(), self._own(), worked)

    def _act(self, before: _Seen, now: _Seen) -> None:
        if now.own - before.own >= BUSY * (now.at - before.at):
            if self._kept_until is None:
                self._use({self._least_used(before, now)})
            # Two that share a core must not leave it together.
            keep = KEEP_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311  # nothing secret
            self._kept_until = now.at + keep
        elif self._kept_until is not None and now.at > self._kept_until:
            self._use(self._cores)
            self._kept_until = None

    def _least_used(self, before: _Seen, now: _Seen) -> int:
        def used(core: int) -> tuple[float, float]:
            # Several processes of an idle machine begin apart.
            drawn = random.random()  # noqa: S311  # nothing secret
            return now.cores[core] - before.cores[core], drawn

        return min(self._cores, key=used)
