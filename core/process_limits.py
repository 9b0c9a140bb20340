"""Checks whether the machine allows this process enough threads and files for the settings."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from core.errors import SettingsError

# Some 20 are used: green threads do not count, but the threads of the database drivers and DNS do,
# and one ffmpeg for each core.
MIN_THREADS = 64
# A voice turn has connections to four providers, for segments of speech too, and pipes to ffmpeg.
DESCRIPTORS_PER_TURN = 8
# For connections of clients, the database, and files.
OTHER_DESCRIPTORS = 512

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def check_limits(turns: int) -> None:
    """Raise the soft limit of open files to the hard one, and check that ``turns`` at once fit.

    Raises ``SettingsError`` if they do not.
    """
    threads = _max_threads()
    if threads < MIN_THREADS:
        raise SettingsError(
            f"only {threads:.0f} processes and threads are allowed here (ulimit -u, or pids.max "
            "of the control group)",
            hint=f"at least {MIN_THREADS} are needed",
        )
    needed = turns * DESCRIPTORS_PER_TURN + OTHER_DESCRIPTORS
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard_limit != resource.RLIM_INFINITY and hard_limit < needed:
        fitting = max(hard_limit - OTHER_DESCRIPTORS, 0) // DESCRIPTORS_PER_TURN
        raise SettingsError(
            f"TURN_THREADS {turns} may need {needed} open files, and only {hard_limit} are allowed "
            "here (ulimit -Hn)",
            hint=f"set it to {fitting} at most",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def _max_threads() -> float:
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    user_limit = float("inf") if soft == resource.RLIM_INFINITY else soft
    return min(user_limit, *(_read_limit(folder / "pids.max") for folder in _cgroup_folders()))


def _cgroup_folders() -> list[Path]:
    """The folders that may hold the limits of our control group, in version 1 or 2."""
    try:
        lines = _MEMBERSHIP.read_text(encoding="ascii").splitlines()
    except OSError:
        return [_CGROUP_ROOT]
    folders = [_CGROUP_ROOT]
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers in ("", "pids"):
            folders.append(_CGROUP_ROOT / controllers / path.lstrip("/"))
    return folders


def _read_limit(file: Path) -> float:
    """The number in a file of a control group; infinite if there is none."""
    try:
        return float(file.read_text(encoding="ascii").replace("max", "inf"))
    except (OSError, ValueError):
        return float("inf")


def memory_limit() -> float:
    """The memory that this process may use, in bytes."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    names = ("memory.max", "memory/memory.limit_in_bytes")
    return min(machine, *(_read_limit(f / name) for f in _cgroup_folders() for name in names))
