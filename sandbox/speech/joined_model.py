"""A model that is installed in several packages, because a package may have 100 MB at most."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

_CHUNK_BYTES = 1 << 20


class WrongModel(RuntimeError):
    """The joined parts are not the file that was meant."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: the parts do not give the expected file; install them again")


def joined_model(
    folder: Path, *, parts: Sequence[Path], sha256: str, beside: Iterable[Path]
) -> Path:
    """``folder`` with ``model.bin``, which is ``parts`` in their order, and the files ``beside``.

    The folder is made once: elsewhere first, then renamed, so that it is complete or not there.
    Its ``model.bin`` is compared with ``sha256``; raises :class:`WrongModel`.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        made = Path(temporary, "made")
        made.mkdir()
        if _join(parts, made / "model.bin") != sha256:
            raise WrongModel(folder.name)
        for file in beside:
            shutil.copy(file, made)
        _rename(made, folder)
    return folder


def _join(parts: Sequence[Path], target: Path) -> str:
    """Write the parts one after the other; returns the SHA-256 of what was written."""
    digest = hashlib.sha256()
    with target.open("wb") as output:
        for part in parts:
            with part.open("rb") as source:
                while chunk := source.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    output.write(chunk)
        output.flush()
        os.fsync(output.fileno())
    return digest.hexdigest()


def _rename(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        # Another process was faster.
        if not folder.is_dir():
            raise
