"""The folders of the demo's runs: each run has its own, and old ones are removed."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

KEPT_RUNS = 10
RUN_NAME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(?:\.\d+)?")


class UnusableFolder(Exception):
    """The folder of a run cannot be made; the message is a sentence that says why."""


@contextlib.contextmanager
def run_folder(parent: Path) -> Iterator[Path]:
    """A new folder in ``parent``, named by date and time, that no other run uses or removes.

    The oldest folders are removed, so that ``KEPT_RUNS`` are left; those of running demos stay.
    Raises ``UnusableFolder``.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = _create_folder(parent)
    except OSError as error:
        raise UnusableFolder(f"No folder can be made in {parent}: {error.strerror}.") from None
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        for old in _runs(parent)[:-KEPT_RUNS]:
            _remove_unused(old)
        yield folder
    finally:
        os.close(lock)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait for other demos: what starts together would choose the same ports."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "demo.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _create_folder(parent: Path) -> Path:
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}.{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("unreachable")


def _runs(parent: Path) -> list[Path]:
    """The folders of runs, the oldest first; what else is in ``parent`` is not the demo's."""
    folders = [each for each in parent.iterdir() if RUN_NAME.fullmatch(each.name) and each.is_dir()]
    return sorted(folders, key=lambda folder: (folder.stat().st_mtime, folder.name))


def _remove_unused(folder: Path) -> None:
    """Remove the folder, unless a running demo has locked it."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)
