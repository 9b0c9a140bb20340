"""What this process has open and running, to see that something leaves nothing behind."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Traces:
    """``descriptors`` are numbers with what each leads to: a number alone may be another by now."""

    descriptors: frozenset[tuple[str, str]]
    children: frozenset[psutil.Process]
    files: frozenset[Path] = frozenset()

    def beyond(self, before: Traces) -> Traces:
        """What was not there before; threads of other tests may have closed something."""
        return Traces(
            self.descriptors - before.descriptors,
            self.children - before.children,
            self.files - before.files,
        )


NONE = Traces(frozenset(), frozenset())


def traces(folder: Path | None = None) -> Traces:
    """With the files in ``folder``."""
    files = frozenset(folder.rglob("*")) if folder else frozenset()
    return Traces(frozenset(_descriptors()), frozenset(psutil.Process().children()), files)


def _descriptors() -> list[tuple[str, str]]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        # The one that lists them is closed by now.
        with suppress(FileNotFoundError):
            found.append((descriptor.name, str(descriptor.readlink())))
    return found
