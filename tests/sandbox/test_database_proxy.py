"""The proxy to PostgreSQL, and its simulated failures."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sandbox.database_proxy import DatabaseProxy
from sandbox.postgres import Postgres
from tests.sandbox.sockets import TIMEOUT, accept, call, is_closed
from tests.sandbox.waiting import wait_until

# More than all buffers can hold, so that it can be sent only if the proxy reads it.
MUCH = b"x" * 30_000_000


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    """A listening socket instead of a server."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        listening.settimeout(TIMEOUT)
        yield listening


@pytest.fixture
def proxy(listening: socket.socket) -> Iterator[DatabaseProxy]:
    """A proxy to ``listening``."""
    with DatabaseProxy(Path(listening.getsockname())) as proxy:
        yield proxy


def receives_nothing(connection: socket.socket, seconds: float = 0.2) -> bool:
    """Whether neither data nor the end of the connection arrives."""
    connection.settimeout(seconds)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(TIMEOUT)
    return False


def test_every_version_is_reachable_through_the_proxy(each_server: Postgres) -> None:
    direct = each_server.database("reached")
    with (
        DatabaseProxy(each_server.socket) as proxy,
        psycopg.connect(proxy.url("reached")) as connection,
        psycopg.connect(direct) as other,
    ):
        much = connection.execute("SELECT current_database(), repeat('x', 3000000)").fetchone()
        assert much == ("reached", "x" * 3_000_000)
        assert connection.info.server_version == other.info.server_version
        assert each_server.connections("reached") == 2


def test_data_of_both_ends_of_a_cut_connection_is_discarded(
    proxy: DatabaseProxy, listening: socket.socket
) -> None:
    with call(proxy) as caller, accept(listening) as asked:
        caller.sendall(b"?")
        assert asked.recv(1) == b"?"
        proxy.cut()
        caller.sendall(MUCH)
        asked.sendall(MUCH)
        proxy.drop()
        assert is_closed(caller)
        assert is_closed(asked)


def test_a_cut_connection_is_read_even_if_its_other_end_reads_nothing(
    proxy: DatabaseProxy, listening: socket.socket
) -> None:
    with call(proxy) as caller, accept(listening) as asked, ThreadPoolExecutor() as pool:
        sent = pool.submit(asked.sendall, MUCH)
        assert caller.recv(1) == b"x"
        assert not wait([sent], timeout=0.2).done
        proxy.cut()
        sent.result(TIMEOUT)


@pytest.mark.parametrize("ending", ["caller", "asked"])
@pytest.mark.parametrize("by_reset", [False, True])
def test_the_end_of_one_side_of_a_cut_connection_is_not_forwarded(
    proxy: DatabaseProxy, listening: socket.socket, ending: str, by_reset: bool
) -> None:
    with call(proxy) as caller, accept(listening) as asked:
        caller.sendall(b"?")
        assert asked.recv(1) == b"?"
        proxy.cut()
        gone, left = (caller, asked) if ending == "caller" else (asked, caller)
        if by_reset:
            # SO_LINGER with a timeout of 0: close sends RST.
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.close()
        assert receives_nothing(left)
        left.sendall(MUCH)
        assert receives_nothing(left)
        proxy.restore()
        assert receives_nothing(left)
        proxy.stop()
        assert is_closed(left)


def test_only_connections_after_restore_are_served(
    proxy: DatabaseProxy, listening: socket.socket
) -> None:
    proxy.cut()
    with call(proxy) as early:
        early.sendall(MUCH)
        assert receives_nothing(early)
        proxy.restore()
        with call(proxy) as late, accept(listening) as asked:
            late.sendall(b"late")
            assert asked.recv(4) == b"late"
            asked.sendall(b"served")
            assert late.recv(6) == b"served"
            assert receives_nothing(early)
            proxy.stop()
            assert is_closed(early)


def test_a_statement_on_a_cut_connection_hangs_until_drop(server: Postgres) -> None:
    server.database("cut")
    with DatabaseProxy(server.socket) as proxy, ThreadPoolExecutor() as pool:
        connection = psycopg.connect(proxy.url("cut"), autocommit=True)
        proxy.cut()
        old: Future[Any] = pool.submit(connection.execute, "SELECT 1")
        new: Future[Any] = pool.submit(psycopg.connect, proxy.url("cut"), connect_timeout=2)
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            new.result(TIMEOUT)
        proxy.restore()
        with psycopg.connect(proxy.url("cut")) as another:
            assert another.execute("SELECT 1").fetchone() == (1,)
        assert not old.done()
        assert server.connections("cut") >= 1
        proxy.drop()
        with pytest.raises(psycopg.OperationalError):
            old.result(TIMEOUT)


def test_drop_closes_connections_at_both_ends(server: Postgres) -> None:
    server.database("dropped")
    with DatabaseProxy(server.socket) as proxy:
        connection = psycopg.connect(proxy.url("dropped"))
        assert server.connections("dropped") == 1
        proxy.drop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        wait_until(lambda: server.connections("dropped") == 0, "the end of the connection")
        with psycopg.connect(proxy.url("dropped")) as another:
            assert another.execute("SELECT 1").fetchone() == (1,)


def test_each_statement_is_delayed(server: Postgres) -> None:
    server.database("delayed")
    with (
        DatabaseProxy(server.socket) as proxy,
        psycopg.connect(proxy.url("delayed"), autocommit=True) as connection,
    ):
        proxy.delay = 0.15
        began = time.monotonic()
        connection.execute("SELECT 1")
        connection.execute("SELECT %s", ["with parameters"])
        assert time.monotonic() - began >= 0.3


def test_delayed_data_of_a_cut_connection_is_discarded(
    proxy: DatabaseProxy, listening: socket.socket
) -> None:
    with call(proxy) as caller, accept(listening) as asked:
        proxy.delay = 0.2
        caller.sendall(b"?")
        proxy.cut()
        assert receives_nothing(asked, seconds=0.4)
        proxy.drop()
        assert is_closed(asked)


def test_connections_are_closed_while_the_server_is_down(
    tmp_path: Path, listening: socket.socket
) -> None:
    path = Path(listening.getsockname())
    moved = path.rename(tmp_path / "moved")
    with DatabaseProxy(path) as proxy:
        with call(proxy) as caller:
            assert is_closed(caller)
        moved.rename(path)
        with call(proxy), accept(listening):
            pass


def test_only_a_running_proxy_can_be_cut_and_it_restarts_on_the_same_port(
    listening: socket.socket,
) -> None:
    proxy = DatabaseProxy(Path(listening.getsockname()))
    with pytest.raises(RuntimeError, match="not running"):
        proxy.cut()
    for _ in range(2):
        with proxy, call(proxy), accept(listening):
            pass
    with pytest.raises(ConnectionRefusedError):
        call(proxy)
