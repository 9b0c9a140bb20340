"""Whether what the machine allows a process is enough for the settings."""

from __future__ import annotations

import resource
from pathlib import Path

from core.errors import SettingsError

# The service has some 20: green threads are none to the kernel, but SQLAlchemy's drivers, DNS and
# ffmpeg, one a core, take some.
LEAST_THREADS = 64
# Of a voice turn: connections to four providers, pieces of speech, and pipes to ffmpeg.
DESCRIPTORS_PER_TURN = 8
# Connections of clients, the database, files.
OTHER_DESCRIPTORS = 512

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def check_limits(turns: int) -> None:
    """Use all descriptors that we may, and see whether ``turns`` at once fit.

    Raises ``SettingsError`` where not.
    """
    threads = _most_threads()
    if threads < LEAST_THREADS:
        raise SettingsError(
            f"Cannot start: only {threads:.0f} processes and threads are allowed here (ulimit -u, "
            f"or pids.max of the control group); at least {LEAST_THREADS} are needed."
        )
    needed = turns * DESCRIPTORS_PER_TURN + OTHER_DESCRIPTORS
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        fitting = max(most - OTHER_DESCRIPTORS, 0) // DESCRIPTORS_PER_TURN
        raise SettingsError(
            f"Cannot start: TURN_THREADS {turns} may need {needed} open files, and only {most} are "
            f"allowed here (ulimit -Hn); set it to {fitting} at most."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _most_threads() -> float:
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    own = float("inf") if soft == resource.RLIM_INFINITY else soft
    return min(own, *map(_pids_max, _own_folders()))


def _own_folders() -> list[Path]:
    """Where the limits of our control group may stand, in either version of control groups."""
    try:
        lines = _OWN_CGROUPS.read_text(encoding="ascii").splitlines()
    except OSError:
        return [_CGROUPS]
    folders = [_CGROUPS]
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers in ("", "pids"):
            folders.append(_CGROUPS / controllers / path.lstrip("/"))
    return folders


def _pids_max(folder: Path) -> float:
    try:
        return float((folder / "pids.max").read_text(encoding="ascii").replace("max", "inf"))
    except (OSError, ValueError):
        return float("inf")
