"""Starts the bridge for the demo: a single process, or a cluster with PostgreSQL."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from sandbox import PORTS, Sandbox
from sandbox.bridge import Bridge, BridgeDied, free_port
from sandbox.cluster import Cluster
from sandbox.demo.screen import Screen
from sandbox.postgres import Postgres, PostgresDied

BRIDGE_PORT = 5000
WEBS = 2
WORKERS = 2


class DemoError(Exception):
    """The demo cannot start; the message says why."""


@contextlib.contextmanager
def running_bridge(sandbox: Sandbox, screen: Screen, folder: Path) -> Iterator[Bridge]:
    """One process without workers, which logs to ``folder``. Raises ``DemoError``."""
    bridge = Bridge(log_file=folder / "bridge.log", port=free_or_other(BRIDGE_PORT))
    bridge.settings = sandbox.environment(bridge.url)
    sandbox.connect(bridge.url)
    try:
        with screen.step("Starting the bridge"):
            bridge.start()
        yield bridge
    except BridgeDied as error:
        raise DemoError(f"The bridge did not start. The end of its log:\n{error}") from None
    finally:
        # Nobody waits for an answer any more, but to stop in order may take half a minute.
        bridge.kill()


@contextlib.contextmanager
def running_cluster(sandbox: Sandbox, screen: Screen, folder: Path) -> Iterator[Cluster]:
    """Web and worker processes with a new database, which log to ``folder``.

    Raises ``DemoError``.
    """
    with contextlib.ExitStack() as stack:
        try:
            with screen.step("Starting PostgreSQL"):
                server = stack.enter_context(Postgres(folder))
            cluster = _create_cluster(sandbox, folder, server.database("demo"))
            with screen.step(f"Starting {WEBS} webs, {WORKERS} workers"):
                stack.callback(cluster.kill)
                cluster.start()
        except PostgresDied as error:
            raise DemoError(f"PostgreSQL did not start. The end of its log:\n{error}") from None
        except BridgeDied as error:
            raise DemoError(f"A process did not start. The end of its log:\n{error}") from None
        yield cluster


def _create_cluster(sandbox: Sandbox, folder: Path, database_url: str) -> Cluster:
    cluster = Cluster(
        folder=folder,
        database_url=database_url,
        webs=WEBS,
        workers=WORKERS,
        port=free_or_other(BRIDGE_PORT),
    )
    cluster.settings = sandbox.environment(cluster.url)
    sandbox.connect(cluster.url)
    # Every process fetches its own token, and so does the worker that is started again.
    sandbox.agentforce.token_clients = len(cluster.processes) + 1
    return cluster


def free_ports() -> dict[str, int]:
    """Those of the sandbox's usual ports that are not in use."""
    return {name: port for name, port in PORTS.items() if _is_free(port)}


def free_or_other(port: int) -> int:
    """``port``, or another free port if it is in use."""
    return port if _is_free(port) else free_port()


def _is_free(port: int) -> bool:
    """Whether no process listens on the port, on loopback or on all addresses."""
    with socket.socket() as client:
        if client.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
