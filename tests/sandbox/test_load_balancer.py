"""The load balancer in front of several webs."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from sandbox.bridge import free_port
from sandbox.load_balancer import TcpLoadBalancer
from tests.sandbox.sockets import TIMEOUT, accept, call, read


@contextmanager
def listening(count: int) -> Iterator[list[socket.socket]]:
    """``count`` listening sockets instead of web processes."""
    with ExitStack() as stack:
        webs = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        for web in webs:
            web.settimeout(TIMEOUT)
        yield webs


def port(web: socket.socket) -> int:
    return int(web.getsockname()[1])


def test_both_directions_are_forwarded_to_their_end() -> None:
    question, reply = b"q" * 3_000_000, b"a" * 3_000_000
    with (
        listening(1) as [web],
        TcpLoadBalancer(ports=[port(web)]) as front,
        call(front) as caller,
        accept(web) as asked,
        ThreadPoolExecutor() as pool,
    ):
        sent = pool.submit(caller.sendall, question)
        assert asked.recv(1) == b"q"
        received = pool.submit(read, asked)
        sent.result()
        # Half closed: the request has ended, but the answer is still to come.
        caller.shutdown(socket.SHUT_WR)
        assert received.result() == question[1:]
        answered = pool.submit(read, caller)
        asked.sendall(reply)
        asked.shutdown(socket.SHUT_WR)
        assert answered.result() == reply


def test_a_half_closed_connection_is_not_garbage_collected() -> None:
    with (
        listening(1) as [web],
        TcpLoadBalancer(ports=[port(web)]) as front,
        call(front) as caller,
        accept(web) as asked,
    ):
        caller.shutdown(socket.SHUT_WR)
        assert read(asked) == b""
        gc.collect()
        asked.sendall(b"answer")
        asked.shutdown(socket.SHUT_WR)
        assert read(caller) == b"answer"


def test_connections_are_distributed_round_robin() -> None:
    with listening(3) as webs, TcpLoadBalancer(ports=[port(web) for web in webs]) as front:
        for _ in range(2):
            for web in webs:
                with call(front), accept(web):
                    pass


def test_webs_that_are_down_are_skipped_in_a_burst() -> None:
    with (
        listening(1) as [web],
        TcpLoadBalancer(ports=[free_port(), port(web), free_port()]) as front,
        ExitStack() as stack,
    ):
        for _ in range(30):
            stack.enter_context(call(front))
        for _ in range(30):
            stack.enter_context(accept(web))


def test_the_connection_is_closed_if_all_webs_are_down() -> None:
    with TcpLoadBalancer(ports=[free_port(), free_port()]) as front, call(front) as caller:
        assert caller.recv(1) == b""


def test_the_connection_is_closed_when_its_web_dies() -> None:
    with listening(1) as [web], TcpLoadBalancer(ports=[port(web)]) as front, call(front) as caller:
        accept(web).close()
        assert caller.recv(1) == b""


def test_stop_closes_connections_and_start_uses_the_same_port() -> None:
    with listening(1) as [web]:
        front = TcpLoadBalancer(ports=[port(web)])
        front.start()
        with call(front) as caller, accept(web) as asked:
            front.stop()
            assert caller.recv(1) == b""
            assert asked.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            call(front)
        with front, call(front), accept(web):
            pass


def test_a_port_in_use_is_an_error() -> None:
    with listening(1) as [web], pytest.raises(OSError, match="in use"):
        TcpLoadBalancer(ports=[], port=port(web)).start()
