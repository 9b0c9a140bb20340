"""ffmpeg reads strangers' recordings; the kernel lets it open nothing else.

Landlock knows what is named: files, TCP ports, abstract sockets, signals to processes outside. It
knows UDP from ABI 10 on and sockets in the file system from 9. What ffmpeg holds open anyway it can
read and write: its recording, its output, and those decoded in the same run.
"""

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

    def __init__(self, program: str, *, libraries: Sequence[str] = ()) -> None:
        """``libraries`` are folders of the program's own."""
        self._readable = [program, *_SYSTEM, *libraries]
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
