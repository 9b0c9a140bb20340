"""The bridge that the demo shows: one process alone, or a cluster on PostgreSQL."""

from __future__ import annotations

import contextlib
import shutil
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


class Impossible(Exception):
    """The demo cannot go on; the message says why."""


@contextlib.contextmanager
def running_bridge(sandbox: Sandbox, screen: Screen, folder: Path) -> Iterator[Bridge]:
    """One process that does everything, its log in ``folder``. Raises ``Impossible``."""
    log_file = folder / "bridge.log"
    log_file.unlink(missing_ok=True)
    bridge = Bridge(log_file=log_file, port=_or_free(BRIDGE_PORT))
    bridge.settings = sandbox.environment(bridge.url)
    # The sandbox forgets when it stops, so the bridge must not remember.
    shutil.rmtree(bridge.state_dir, ignore_errors=True)
    sandbox.connect(bridge.url)
    try:
        with screen.step("Starting the bridge"):
            bridge.start()
        yield bridge
    except BridgeDied as death:
        raise Impossible(f"The bridge did not start. The end of its log:\n{death}") from None
    finally:
        bridge.stop()


@contextlib.contextmanager
def running_cluster(sandbox: Sandbox, screen: Screen, folder: Path) -> Iterator[Cluster]:
    """Webs and workers on a database of their own, all logs in ``folder``.

    Raises ``Impossible``.
    """
    for old in folder.glob("*.log"):
        old.unlink()
    with contextlib.ExitStack() as stack:
        try:
            with screen.step("Starting PostgreSQL"):
                server = stack.enter_context(Postgres(folder))
            cluster = _cluster(sandbox, folder, server.database("demo"))
            with screen.step(f"Starting {WEBS} webs, {WORKERS} workers"):
                stack.enter_context(cluster)
        except PostgresDied as death:
            raise Impossible(f"PostgreSQL did not start. The end of its log:\n{death}") from None
        except BridgeDied as death:
            raise Impossible(f"A process did not start. The end of its log:\n{death}") from None
        yield cluster


def _cluster(sandbox: Sandbox, folder: Path, database_url: str) -> Cluster:
    cluster = Cluster(
        folder=folder,
        database_url=database_url,
        webs=WEBS,
        workers=WORKERS,
        port=_or_free(BRIDGE_PORT),
    )
    cluster.settings = sandbox.environment(cluster.url)
    sandbox.connect(cluster.url)
    # Every process fetches a token of its own, and so does the one that is started again.
    sandbox.agentforce.token_clients = len(cluster.processes) + 1
    return cluster


def free_ports() -> dict[str, int]:
    """Those of the sandbox's usual ports that nobody uses."""
    return {name: port for name, port in PORTS.items() if _is_free(port)}


def _or_free(port: int) -> int:
    return port if _is_free(port) else free_port()


def _is_free(port: int) -> bool:
    """Whether nobody listens there, on loopback or on every address."""
    with socket.socket() as caller:
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
