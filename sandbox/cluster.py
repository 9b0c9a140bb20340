"""Runs the bridge as several web and worker processes that share one database."""

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
    """``webs`` web and ``workers`` worker processes, with a load balancer in front of the webs.

    ``settings`` are environment variables of all processes and may be changed until the start;
    ``DATABASE_URL`` and ``PUBLIC_URL`` are added. ``database_urls`` overrides the database URL of
    single processes, by their index in ``processes``. Logs and state are in ``folder``. ``port`` is
    that of the load balancer, by default a free one. Use it as a context manager, or call ``start``
    and ``stop``. Each process can also be stopped, killed and started separately.
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
        database_urls: Mapping[int, str] | None = None,
    ) -> None:
        self.settings = dict(settings or {})
        self.database_url = database_url
        self._database_urls = dict(database_urls or {})
        self.webs = [
            Bridge(log_file=folder / f"web-{number}.log", command=web_command)
            for number in range(1, webs + 1)
        ]
        self.workers = [
            Worker(log_file=folder / f"worker-{number}.log", command=worker_command)
            for number in range(1, workers + 1)
        ]
        self._load_balancer = TcpLoadBalancer(ports=[web.port for web in self.webs], port=port)
        self.url = self._load_balancer.url

    @property
    def processes(self) -> list[Process]:
        """All webs, followed by all workers."""
        return [*self.webs, *self.workers]

    def start(self) -> None:
        """Return when all are ready. Raises ``BridgeDied`` after killing all processes."""
        for index, process in enumerate(self.processes):
            url = self._database_urls.get(index, self.database_url)
            process.settings = {"DATABASE_URL": url, "PUBLIC_URL": self.url} | self.settings
        try:
            self._load_balancer.start()
            _in_parallel(self.processes, Process.start)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> list[int]:
        """Terminate all and wait; returns their exit codes in the order of ``processes``."""
        try:
            return _in_parallel(self.processes, Process.stop)
        finally:
            self._load_balancer.stop()

    def kill(self) -> None:
        """Kill all processes without waiting for their turns."""
        for process in self.processes:
            process.kill()
        self._load_balancer.stop()

    def log(self) -> str:
        """The logs of all processes, concatenated in the order of ``processes``."""
        return "".join(process.log() for process in self.processes)


def _in_parallel(processes: Iterable[Process], action: Callable[[Process], T]) -> list[T]:
    with ThreadPoolExecutor(max_workers=64) as pool:
        return list(pool.map(action, processes))
