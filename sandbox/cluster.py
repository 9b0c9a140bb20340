"""The bridge on many processes that share one database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sandbox.bridge import Bridge, Process, Worker
from sandbox.load_balancer import TcpLoadBalancer
from sandbox.service import Service

T = TypeVar("T")


class Cluster(Service):
    """``webs`` web and ``workers`` worker processes, and one address in front of the webs.

    ``settings`` are the environment of each, to be set before they start; ``DATABASE_URL`` and
    ``PUBLIC_URL`` are added. ``ways`` are addresses by which single processes reach the database,
    by their places in ``processes``. Logs and state lie in ``folder``; ``port`` is of the one
    address, by default a free one. Use it as a context manager, or ``start`` and ``stop`` it; each
    process can be stopped, killed and started by itself too.
    """

    def __init__(
        self,
        *,
        folder: Path,
        database_url: str,
        settings: Mapping[str, str] | None = None,
        webs: int = 2,
        workers: int = 2,
        port: int = 0,
        web_command: Sequence[str] | None = None,
        worker_command: Sequence[str] | None = None,
        ways: Mapping[int, str] | None = None,
    ) -> None:
        self.settings = dict(settings or {})
        self.database_url = database_url
        self._ways = dict(ways or {})
        self.webs = [
            Bridge(log_file=folder / f"web-{number}.log", command=web_command)
            for number in range(1, webs + 1)
        ]
        self.workers = [
            Worker(log_file=folder / f"worker-{number}.log", command=worker_command)
            for number in range(1, workers + 1)
        ]
        self._front = TcpLoadBalancer(ports=[web.port for web in self.webs], port=port)
        self.url = self._front.url

    @property
    def processes(self) -> list[Process]:
        """The webs, then the workers."""
        return [*self.webs, *self.workers]

    def start(self) -> None:
        """Return once all are ready. Raises ``BridgeDied``, and then none is left."""
        for place, process in enumerate(self.processes):
            way = self._ways.get(place, self.database_url)
            process.settings = {"DATABASE_URL": way, "PUBLIC_URL": self.url} | self.settings
        try:
            self._front.start()
            _at_once(Process.start, self.processes)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> list[int]:
        """Ask all to finish and wait; returns their exit codes in the order of ``processes``."""
        try:
            return _at_once(Process.stop, self.processes)
        finally:
            self._front.stop()

    def kill(self) -> None:
        """Kill all at once."""
        for process in self.processes:
            process.kill()
        self._front.stop()

    def log(self) -> str:
        """Everything they have logged, one after the other in the order of ``processes``."""
        return "".join(process.log() for process in self.processes)


def _at_once(do: Callable[[Process], T], processes: Iterable[Process]) -> list[T]:
    with ThreadPoolExecutor(max_workers=64) as pool:
        return list(pool.map(do, processes))
