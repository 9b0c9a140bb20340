"""Requests that cost the server far more than whoever sends them, beside genuine ones.

What a web server has to withstand, whichever it is; how fast it stays is for ``make flood``.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from bench import hostile
from bench.hostile import Requests
from sandbox.twilio.webhook import Delivery
from tests.e2e.conftest import StartDeployment
from tests.e2e.deployment import Deployment

pytestmark = pytest.mark.slow

SECONDS = 2.0
HOSTILE_RATE = 50
GENUINE_RATE = 20
# Well within the 15 s that Twilio waits, so that a server that fails does so soon.
ANSWER_SECONDS = 6.0
SEND_SECONDS = 5.0


@contextmanager
def flood(port: int, requests: Requests) -> Iterator[None]:
    """Send hostile requests at a steady rate, each on a connection that stays open."""
    over = threading.Event()

    def send(number: int) -> None:
        over.wait(number / HOSTILE_RATE)
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), SEND_SECONDS) as client,
        ):
            client.sendall(requests[number % len(requests)])
            over.wait()

    number = round(HOSTILE_RATE * SECONDS)
    with ThreadPoolExecutor(number) as pool:
        pool.map(send, range(number))
        try:
            yield
        finally:
            over.set()


def deliver_genuine(deployment: Deployment, users: Sequence[str]) -> list[Delivery]:
    """Post a signed text of each user at a steady rate, without waiting for earlier answers."""
    latency = threading.Event()

    def deliver(number: int) -> Delivery:
        latency.wait(number / GENUINE_RATE)
        form = deployment.twilio.forms.text(users[number], "hello")
        return deployment.twilio.deliver(form, timeout=ANSWER_SECONDS)

    with ThreadPoolExecutor(len(users)) as pool:
        return list(pool.map(deliver, range(len(users))))


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param(hostile.PADDED_LENGTHS, id="lengths with leading zeros"),
        pytest.param(hostile.ODD_LENGTHS, id="other lengths"),
        pytest.param(hostile.RUNS_OF_BLANKS, id="blanks in headers"),
        pytest.param(hostile.OTHER_RUNS, id="other long headers"),
        pytest.param(hostile.EXPENSIVE_BODIES, id="fields and percent signs"),
        pytest.param(hostile.OTHER_BODIES, id="other large bodies"),
    ],
)
def test_genuine_messages_are_taken_and_answered_beside(
    start_deployment: StartDeployment, requests: Requests
) -> None:
    with start_deployment() as deployment:
        users = [deployment.user() for _ in range(round(GENUINE_RATE * SECONDS))]
        with flood(deployment.bridge.port, requests):
            delivered = deliver_genuine(deployment, users)
        assert [each.status for each in delivered] == [200] * len(users)
        for user in users:
            deployment.answers(user, 1)
        deployment.check()
