"""One core for the interpreter, which passes its lock on faster there than from core to core."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

# What this process was given. ffmpeg has all of it.
CORES = frozenset(os.sched_getaffinity(0))
LOOK_SECONDS = 5.0
# The part of our core that others may use more than of another one.
CROWDED = 0.2

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


class OneCore:
    """Keeps this process on one core, and off those that others use more than another."""

    def __init__(
        self,
        *,
        cores: Collection[int] = CORES,
        use: Callable[[Collection[int]], None] = use,
        busy: Callable[[], Mapping[int, float]] = busy_seconds,
        own: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cores = sorted(cores)
        self._use = use
        self._look_at = busy
        self._own_seconds = own
        self._clock = clock
        # Several processes of a machine begin apart.
        self._core = random.choice(self._cores)  # noqa: S311  # nothing secret

    def start(self) -> None:
        """Begin; nothing happens where there is but one core, or nobody tells what they do."""
        if len(self._cores) > 1 and self.settle():
            threading.Thread(target=self._stay, name="core", daemon=True).start()

    def settle(self) -> bool:
        """Use one core from now on; ``False`` where that cannot be, and all are used."""
        try:
            self._look()
            self._use({self._core})
        except OSError as error:
            log.warning("Not kept on one core", error=type(error).__name__)
            with suppress(OSError):
                self._use(self._cores)
            return False
        return True

    def look_around(self) -> bool:
        """Leave a core that others use more than another; ``False`` as above."""
        began, before, own = self._looked_at, self._busy, self._own
        try:
            self._look()
        except OSError:
            return self.settle()
        used = {core: self._busy[core] - before[core] for core in self._cores}
        used[self._core] -= self._own - own
        best = min(used, key=lambda core: used[core])
        if used[self._core] - used[best] <= CROWDED * (self._looked_at - began):
            return True
        self._core = best
        return self.settle()

    def _look(self) -> None:
        busy = self._look_at()
        # Some sandboxes show a file of zeros.
        if not all(busy.get(core) for core in self._cores):
            raise OSError("a core has never worked")
        self._busy, self._own, self._looked_at = busy, self._own_seconds(), self._clock()

    def _stay(self) -> None:
        kept = True
        while kept:
            # Two that share a core must not leave it together.
            time.sleep(LOOK_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311  # nothing secret
            kept = self.look_around()
