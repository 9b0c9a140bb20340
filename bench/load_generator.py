"""An open-loop load generator: posts webhooks at a fixed arrival rate, however late the answers."""

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

# Keep-alive connections, as many as gunicorn has threads.
CONNECTIONS = 32
TIMEOUT_SECONDS = 15.0
# As a rate: each connection posts again as soon as it has read the previous answer.
AT_ONCE = math.inf
# Time for all client threads to start before the first webhook is due.
START_DELAY_SECONDS = 0.2


@dataclass(frozen=True)
class Webhook:
    """A form body as Twilio posts it, with its signature."""

    body: bytes
    signature: str


@dataclass(frozen=True)
class ResponseTimes:
    """Sorted seconds from the due time of each webhook to its answer.

    A webhook that was not accepted counts as ``inf``. ``began`` is the due time of the first
    webhook, in monotonic seconds.
    """

    began: float
    seconds: Sequence[float]

    def percentile(self, percent: float) -> float:
        """In seconds, by the nearest-rank method."""
        return self.seconds[max(math.ceil(len(self.seconds) * percent / 100) - 1, 0)]


def signed_webhook(url: str, form: Fields) -> Webhook:
    """``form`` encoded and signed for a POST to ``url``."""
    body = urlencode(form, doseq=True).encode()
    return Webhook(body, sign(url, form, CREDENTIALS["TWILIO_AUTH_TOKEN"]))


class LoadGenerator:
    """Posts from a separate process, so that the stand-ins in this one do not distort the times."""

    def __init__(self) -> None:
        self._process = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def post(self, url: str, webhooks: Sequence[Webhook], rate: float) -> Future[ResponseTimes]:
        """Post ``rate`` webhooks per second to ``url`` in the background."""
        return self._process.submit(_post_all, url, webhooks, rate)

    def close(self) -> None:
        self._process.shutdown()


def _post_all(url: str, webhooks: Sequence[Webhook], rate: float) -> ResponseTimes:
    start = time.monotonic() + START_DELAY_SECONDS
    schedule = [(start + number / rate, webhook) for number, webhook in enumerate(webhooks)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        clients = [
            pool.submit(_run_client, url, schedule[index::CONNECTIONS])
            for index in range(CONNECTIONS)
        ]
        seconds = sorted(each for client in clients for each in client.result())
    return ResponseTimes(start, seconds)


def _run_client(url: str, schedule: Sequence[tuple[float, Webhook]]) -> list[float]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_SECONDS)
    return [_post(connection, due, webhook) for due, webhook in schedule]


def _post(connection: http.client.HTTPConnection, due: float, webhook: Webhook) -> float:
    """Wait until ``due`` and post; returns the seconds since then, ``inf`` if it failed."""
    time.sleep(max(due - time.monotonic(), 0))
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": webhook.signature,
    }
    try:
        connection.request("POST", "/", webhook.body, headers)
        answer = connection.getresponse()
        # A full inbox also answers 200, but with a message for the sender.
        accepted = answer.status == 200 and b"<Message" not in answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return math.inf
    return time.monotonic() - due if accepted else math.inf
