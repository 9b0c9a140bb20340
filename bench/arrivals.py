"""Webhooks that arrive at fixed times, whatever becomes of those before them."""

from __future__ import annotations

import http.client
import math
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from sandbox import CREDENTIALS
from sandbox.twilio.webhook import Fields, sign

# Kept-alive connections, as many as gunicorn has threads for.
CONNECTIONS = 32
TIMEOUT = 15.0
# So fast that every connection posts as soon as its last answer is there.
AT_ONCE = math.inf


@dataclass(frozen=True)
class Webhook:
    """A form as Twilio posts it."""

    body: bytes
    signature: str


@dataclass(frozen=True)
class Answers:
    """Seconds from each webhook's time to its answer, sorted; ``inf`` where it was not 200.

    ``began`` is the time of the first, in monotonic seconds.
    """

    began: float
    seconds: Sequence[float]

    def percentile(self, percent: float) -> float:
        """In seconds; the nearest rank."""
        return self.seconds[max(math.ceil(len(self.seconds) * percent / 100) - 1, 0)]


def signed(url: str, form: Fields) -> Webhook:
    """The form as posted to ``url``."""
    body = urlencode(form, doseq=True).encode()
    return Webhook(body, sign(url, form, CREDENTIALS["TWILIO_AUTH_TOKEN"]))


class Arrivals:
    """Posts from a process of its own, lest the measuring and the stand-ins slow it down."""

    def __init__(self) -> None:
        spawned = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, mp_context=spawned)

    def post(self, url: str, webhooks: Sequence[Webhook], rate: float) -> Future[Answers]:
        """Post ``rate`` webhooks a second."""
        return self._process.submit(_post, url, webhooks, rate)

    def close(self) -> None:
        self._process.shutdown()


def _post(url: str, webhooks: Sequence[Webhook], rate: float) -> Answers:
    # Room for all threads to be there before the first webhook is due.
    start = time.monotonic() + 0.2
    timed = [(start + number / rate, webhook) for number, webhook in enumerate(webhooks)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        clients = [
            pool.submit(_client, url, timed[place::CONNECTIONS]) for place in range(CONNECTIONS)
        ]
        return Answers(start, sorted(seconds for client in clients for seconds in client.result()))


def _client(url: str, timed: Sequence[tuple[float, Webhook]]) -> list[float]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
    return [_answered(connection, due, webhook) for due, webhook in timed]


def _answered(connection: http.client.HTTPConnection, due: float, webhook: Webhook) -> float:
    time.sleep(max(due - time.monotonic(), 0))
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": webhook.signature,
    }
    try:
        connection.request("POST", "/", webhook.body, headers)
        answer = connection.getresponse()
        # The refusal of a full inbox is 200 too, with a message in it.
        taken = answer.status == 200 and b"<Message" not in answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return math.inf
    return time.monotonic() - due if taken else math.inf
