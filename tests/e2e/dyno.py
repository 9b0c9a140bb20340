"""A control group with the limits of Heroku's smallest dynos, where the machine allows one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox.bridge import procfile_command

PROCESSES_AND_THREADS = 256
MEMORY_BYTES = 512 * 1024 * 1024

# What Heroku's Python buildpack sets at boot.
BUILDPACK = {
    "WEB_CONCURRENCY": "2",
    "FORWARDED_ALLOW_IPS": "*",
    "GUNICORN_CMD_ARGS": "--access-logfile -",
    "DYNO": "web.1",
    "DYNO_RAM": "512",
}

_GROUPS = Path("/sys/fs/cgroup")
_numbers = itertools.count(1)


@contextmanager
def limited_command(kind: str) -> Iterator[Sequence[str]]:
    """The Procfile's command within a dyno's limits, or without if no control group can be made."""
    name = f"test-dyno-{os.getpid()}-{next(_numbers)}"
    groups = []
    limits = {
        "pids": ("pids.max", PROCESSES_AND_THREADS),
        "memory": ("memory.limit_in_bytes", MEMORY_BYTES),
    }
    for controller, (file, most) in limits.items():
        group = _GROUPS / controller / name
        with suppress(OSError):
            group.mkdir()
            groups.append(group)
            (group / file).write_text(str(most))
    enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
    try:
        yield ["/bin/sh", "-c", f'{enter}exec "$@"', "dyno", *procfile_command(kind)]
    finally:
        for group in groups:
            # It is left where a process of it lives still.
            with suppress(OSError):
                group.rmdir()
