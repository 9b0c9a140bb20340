"""ffmpeg reads strangers' recordings; the kernel lets it open nothing else.

Landlock knows what is named: files, TCP ports, abstract sockets, signals to processes outside. It
knows UDP from ABI 10 on and sockets in the file system from 9. What ffmpeg holds open anyway it can
read and write: its recording and its output.
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

# Where threads are green, these are the kernel's: gevent forks in the thread of its loop alone,
# which must not be restricted.
_spawn: Callable[..., int] = monkey.get_original("os", "posix_spawnp")
_ThreadLocal: type[threading.local] = monkey.get_original("threading", "local")

# Python ignores them, and a program that it starts would too.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)

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
        self._run = _in_a_thread_of_its_own()
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
        """The process number of a program in a session of its own.

        ``standard`` are the descriptors that become its input, output and error, ``inherited``
        those that it has besides, under the same numbers. Raises ``OSError``.
        """
        # Copied onto itself a descriptor stays open.
        copies = [*zip(standard, range(3), strict=True), *((each, each) for each in inherited)]
        actions = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in copies]

        def start() -> int:
            # A pool may put another thread in the place of its first.
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
        """Raises ``OSError`` where the kernel does not restrict anything."""
        # A thread that is none to the kernel would restrict the whole service.
        if threading.get_native_id() == os.getpid():
            raise RuntimeError("only a thread of its own may be confined")
        with Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL) as ruleset:
            for path in filter(os.path.exists, self._readable):
                ruleset.allow_path(path, AccessFS.READ_FILE | AccessFS.EXECUTE)
            ruleset.restrict()


def _in_a_thread_of_its_own() -> Callable[[Callable[[], T]], T]:
    """What runs all that it is given in one thread of the kernel's, and waits for it."""
    if monkey.is_module_patched("threading"):
        # landlockpy looks for the C library by a program, which gevent starts in this thread only;
        # from then on gevent would wait for all children itself, and their status be lost.
        with suppress(OSError):
            abi_version()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return ThreadPool(1).apply
    pool = ThreadPoolExecutor(1, thread_name_prefix="confined")
    return lambda work: pool.submit(work).result()
