"""Confines ffmpeg, which reads recordings of strangers: the kernel lets it open nothing else.

Landlock restricts opening files, using TCP ports and abstract sockets, and signalling processes
outside; from ABI 9 on also sockets in the file system, and from ABI 10 on UDP. It does not restrict
descriptors that are open already: ffmpeg can read its recording and write its output.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import structlog
from gevent import monkey
from gevent.threadpool import ThreadPool
from landlockpy import AccessFS, Ruleset, Scope, abi_version

T = TypeVar("T")

log = structlog.get_logger(__name__)

# The original functions, even if gevent has replaced them: gevent would fork in the thread of its
# event loop, and that thread must not be restricted.
_spawn: Callable[..., int] = monkey.get_original("os", "posix_spawnp")
_ThreadLocal: type[threading.local] = monkey.get_original("threading", "local")

# Python ignores these signals, and programs that it starts would inherit that.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)

# Libraries, and the programs that a script may run, because FFMPEG_PATH may be a script. Not all of
# /usr, because services are deployed to folders in it.
_SYSTEM_PATHS = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/bin", "/usr/bin", "/usr/local/bin"),
)


class Launcher:
    """Starts ``program`` so that it, and what it starts, can open nothing and connect to nothing.

    Inherited descriptors stay usable. Landlock restricts a thread, and every process which that
    thread starts, for ever. So a thread that does nothing else is restricted and starts all
    processes. A child could not restrict itself between fork and exec: in a process with threads,
    no Python code may run there.
    """

    def __init__(self, program: str, *, libraries: Sequence[str] = ()) -> None:
        """``libraries`` are further folders that the program loads libraries from."""
        self._readable = [program, *_SYSTEM_PATHS, *libraries]
        self._run = _single_kernel_thread()
        self._thread = _ThreadLocal()
        self._run(self._restrict_once)

    def start(
        self,
        command: Sequence[str],
        *,
        standard: Sequence[int],
        inherited: Sequence[int] = (),
        environment: Mapping[str, str],
    ) -> int:
        """Start a program in a new session; returns its process ID.

        ``standard`` are the descriptors that become its standard input, output and error,
        ``inherited`` further ones that it gets under the same numbers. Raises ``OSError``.
        """
        # A descriptor that is duplicated onto itself stays open in the child.
        copies = [*zip(standard, range(3), strict=True), *((each, each) for each in inherited)]
        actions = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in copies]

        def start() -> int:
            # The pool may have replaced its thread by a new one.
            self._restrict_once()
            return _spawn(
                command[0],
                command,
                environment,
                file_actions=actions,
                setsid=True,
                setsigdef=_DEFAULT_SIGNALS,
            )

        return self._run(start)

    def _restrict_once(self) -> None:
        if hasattr(self._thread, "restricted"):
            return
        self._thread.restricted = True
        try:
            self._restrict()
        except OSError as error:
            log.warning("ffmpeg is not confined: no Landlock here", error=str(error))

    def _restrict(self) -> None:
        """Restrict this thread. Raises ``OSError`` if the kernel has no Landlock."""
        # A green thread runs in the main thread, which would restrict the whole service.
        if threading.get_native_id() == os.getpid():
            raise RuntimeError("the main thread must not be confined")
        with Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL) as ruleset:
            for path in filter(os.path.exists, self._readable):
                ruleset.allow_path(path, AccessFS.READ_FILE | AccessFS.EXECUTE)
            ruleset.restrict()


def _single_kernel_thread() -> Callable[[Callable[[], T]], T]:
    """A function that calls its argument in one kernel thread and returns the result."""
    if monkey.is_module_patched("threading"):
        # To find the C library, landlockpy runs a program, which gevent can start in this thread
        # only. From then on gevent would reap all children, and we could not get their exit status.
        with suppress(OSError):
            abi_version()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return ThreadPool(1).apply
    pool = ThreadPoolExecutor(1, thread_name_prefix="confined")
    return lambda work: pool.submit(work).result()
