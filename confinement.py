"""ffmpeg reads strangers' files; it gets no file but its own, and no network, from the kernel."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog
from landlockpy import AccessFS, Ruleset, Scope

log = structlog.get_logger(__name__)

# What a program is linked with, and what a script runs, for FFMPEG_PATH may name one. Not /usr as a
# whole: services are deployed to folders of it.
_SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/bin", "/usr/bin", "/usr/local/bin"),
)


class Launcher:
    """Starts ``program`` so that it, and what it starts, can open nothing and connect to nothing.

    What it inherits open stays of use. Landlock restricts a thread and what that thread starts,
    for ever. So one thread is restricted and starts all of them: with other threads around, no
    code of ours may run between fork and exec.
    """

    def __init__(self, program: str) -> None:
        folders = os.environ.get("LD_LIBRARY_PATH", "").split(":")
        self._readable = [program, *_SYSTEM, *folders]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="confined")
        try:
            self._thread.submit(self._restrict).result()
        except OSError as error:
            log.warning("ffmpeg is not confined: no Landlock here", error=str(error))

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """As ``subprocess.Popen`` does."""
        started: Future[subprocess.Popen[bytes]]
        started = self._thread.submit(lambda: subprocess.Popen(command, **options))
        return started.result()

    def _restrict(self) -> None:
        """Raises ``OSError`` where the kernel does not restrict anything."""
        # A thread that is none to the kernel would restrict the whole service.
        if threading.get_native_id() == os.getpid():
            raise RuntimeError("only a thread of its own may be confined")
        with Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL) as ruleset:
            for path in filter(os.path.exists, self._readable):
                ruleset.allow_path(path, AccessFS.READ_FILE | AccessFS.EXECUTE)
            ruleset.restrict()
