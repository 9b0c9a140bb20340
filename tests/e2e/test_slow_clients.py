"""Clients that send slowly, in part or nothing; strangers need no signature to do that."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
import requests

from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
BEGINNINGS = {
    "nothing": b"",
    "a byte": b"P",
    "half a head": HEAD,
    "half a body": HEAD + b"Content-Length: 100\r\n\r\nBody=h",
    "a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nBo",
    "more than is taken": HEAD + b"Content-Length: 1000000\r\n\r\nBody=h",
    "a request and a byte": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nG",
    "no hanging up": b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
}
# Several times as many as there are threads.
MANY = 200
# Far more than it takes; by itself gunicorn waits for ever for most of these.
PATIENCE = 60.0


@contextmanager
def clients(deployment: Deployment, beginning: bytes, number: int) -> Iterator[list[socket.socket]]:
    """Open connections that send ``beginning`` and nothing more."""
    with ExitStack() as stack:
        opened = []
        for _ in range(number):
            client = stack.enter_context(
                socket.create_connection(("127.0.0.1", deployment.bridge.port))
            )
            client.sendall(beginning)
            opened.append(client)
        yield opened


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_messages_are_accepted_beside_many_unfinished_requests(
    deployment: Deployment, beginning: bytes
) -> None:
    """Within the 15 s that Twilio waits, which the stand-in enforces."""
    user = deployment.user()
    with clients(deployment, beginning, MANY):
        for text in ("hello", "thanks"):
            assert deployment.twilio.say(user, text).status == 200
        assert deployment.answers(user, 2)[1].body.startswith("You're welcome")


def test_a_thousand_trickling_requests_delay_no_message(deployment: Deployment) -> None:
    """Some send a byte now and then, some nothing."""
    body = HEAD + b"Content-Length: 9000\r\n\r\n"
    with (
        clients(deployment, b"", 40),
        clients(deployment, HEAD, 500) as heads,
        clients(deployment, body, 500) as bodies,
    ):
        users = [deployment.user() for _ in range(20)]
        for user in users:
            for client in (*heads, *bodies):
                # Some have been hung up on.
                with suppress(OSError):
                    client.send(b"x")
            assert deployment.twilio.say(user, "hello").status == 200
        for user in users:
            deployment.answers(user, 1)


@pytest.fixture(scope="module")
def deployment_with_short_waits(start_deployment: StartDeployment) -> Iterator[Deployment]:
    """A service that waits only 3 s on idle connections and for the head of a request."""
    with start_deployment(GUNICORN_CMD_ARGS="--keep-alive 3") as deployment:
        yield deployment


def test_unfinished_requests_are_closed_after_a_while(
    deployment_with_short_waits: Deployment,
) -> None:
    with ExitStack() as stack:
        opened = [
            stack.enter_context(clients(deployment_with_short_waits, beginning, 1))[0]
            for beginning in BEGINNINGS.values()
        ]
        for client in opened:
            client.settimeout(PATIENCE)
            # Either way of hanging up will do.
            with suppress(ConnectionResetError):
                while client.recv(65536):
                    pass


@pytest.mark.parametrize("beginning", [b"", HEAD + b"Content-Length: 9000\r\n\r\n"])
def test_a_trickle_does_not_extend_the_time_limit(
    deployment_with_short_waits: Deployment, beginning: bytes
) -> None:
    """Each byte comes in time, the whole request does not."""
    with clients(deployment_with_short_waits, beginning, 1) as (client,):
        client.settimeout(0.1)
        with pytest.raises((ConnectionError, EOFError)):
            for byte in (HEAD * 100)[: int(PATIENCE / 0.1)]:
                client.sendall(bytes([byte]))
                with suppress(TimeoutError):
                    if not client.recv(1):
                        raise EOFError


def test_pipelined_requests_are_answered_in_order(deployment: Deployment) -> None:
    """Even if the first packet holds a part of the second request."""
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = b""
    with clients(deployment, request + request[:5], 1) as (client,):
        client.settimeout(PATIENCE)
        while b"\r\n\r\nOK" not in answer:
            answer += client.recv(65536)
        assert answer.count(b"HTTP/1.1 200") == 1
        client.sendall(request[5:])
        while answer.count(b"\r\n\r\nOK") < 2:
            answer += client.recv(65536)
    assert answer.count(b"HTTP/1.1 200") == answer.count(b"HTTP/1.1 ") == 2


def test_a_body_of_unknown_length_is_refused(deployment: Deployment) -> None:
    answer = requests.post(deployment.bridge.url, data=iter([b"Body=", b"hello"]), timeout=10)
    assert answer.status_code == 411


def test_a_body_of_the_largest_size_is_read_whole(deployment: Deployment) -> None:
    answer = requests.post(deployment.bridge.url, data={"Body": "x" * 60_000}, timeout=10)
    assert answer.status_code in (400, 403)


def test_a_connection_is_kept_for_many_requests(deployment: Deployment) -> None:
    with requests.Session() as session:
        ports = set()
        for _ in range(3):
            with session.get(deployment.bridge.url, timeout=10, stream=True) as answer:
                connection = answer.raw.connection
                assert connection is not None
                ports.add(connection.sock.getsockname()[1])
                assert answer.text == "OK"
    assert len(ports) == 1
