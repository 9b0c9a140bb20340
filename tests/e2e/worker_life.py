"""A worker process as short as it can be: the real queue, runner, store and delivery."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
import uuid
from typing import Any, cast

import psycopg
from tenacity import Retrying, retry_if_exception_type

import runner
import turn_queue
from delivery import Delivery
from errors import SendBusy, SendUncertain
from leases import SharedLeases
from metrics import Metrics
from narration import Reply
from opening import open_postgres
from phrases import Phrases
from runner import Runner
from sendings import Sendings
from standard_replies import StandardReplies
from store import Answer, Store, Turn
from turn_queue import TurnQueue, TurnWorker
from whatsapp import WhatsApp

# Long enough for a busy machine not to take the living for dead.
STALLED_SECONDS = 2.0


class Outbox:
    """Twilio, as far as it takes texts and lists them; it outlives every process.

    Every fifth call fails: it is refused, or breaks off before or after the text was taken.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def send_text(self, to: str, text: str, *, callback: str) -> str:
        chance = random.random()
        if chance < 0.1:
            raise SendBusy
        if chance < 0.15:
            raise SendUncertain
        sid = self._take(to, text)
        if chance < 0.2:
            raise SendUncertain
        return sid

    def _take(self, to: str, text: str) -> str:
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute(
                "INSERT INTO outbox (recipient, body) VALUES (%s, %s) RETURNING id", [to, text]
            ).fetchone()
        assert row
        return f"SM-out-{row[0]}"

    def find_text(self, to: str, text: str, *, since: float) -> str | None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute(
                "SELECT id FROM outbox WHERE recipient = %s AND body = %s", [to, text]
            ).fetchone()
        return f"SM-out-{row[0]}" if row else None


class Echo:
    """Answers with the MessageSid, after a moment, and notes who is being answered when."""

    def __init__(self, url: str, delivery: Delivery) -> None:
        self._url = url
        self._delivery = delivery

    def answer(self, turn: Turn) -> Reply:
        self._note(turn, "asked")
        time.sleep(random.uniform(0, 0.05))
        self._note(turn, "answered")
        return Reply(Answer(turn.message.sid, None))

    def deliver(self, turn: Turn, reply: Reply) -> None:
        self._delivery.send_text(turn, reply.answer.text)

    def apologise(self, turn: Turn, error: Exception) -> None:
        raise error

    def was_sent(self, turn: Turn) -> bool:
        return self._delivery.text_sent(turn)

    def _note(self, turn: Turn, what: str) -> None:
        """Once, also where the server hangs up on the note itself, perhaps after taking it."""
        row = [uuid.uuid4(), os.getpid(), turn.message.sender, turn.message.sid, what]
        again = Retrying(retry=retry_if_exception_type(psycopg.OperationalError))
        again(self._insert, row)

    def _insert(self, row: list[object]) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO notes (name, process, sender, sid, what) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                row,
            )


def live(url: str) -> None:
    """Run turns until SIGTERM, or for as long as it is let."""
    _hurry()
    database = open_postgres(url, connections=4)
    store = Store(database=database)
    sendings = Sendings(database=database, note_lifetime=60)
    outbox = cast(WhatsApp, Outbox(url))
    delivery = Delivery(whatsapp=outbox, sendings=sendings, metrics=Metrics())
    replies = StandardReplies(phrases=Phrases(), store=store)
    worker = TurnWorker(
        url=url,
        store=store,
        leases=SharedLeases(database=database),
        runner=Runner(store=store, talk=Echo(url, delivery), replies=replies, log_key=""),
        queue=TurnQueue(database=database),
        threads=4,
    )
    asyncio.run(_work(worker))


async def _work(worker: TurnWorker) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        await worker.work(stop, grace=10)
    finally:
        # As worker.py does: nobody waits for threads that were cut off.
        os._exit(0)


def _hurry() -> None:
    faster: dict[str, Any] = {
        "HEARTBEAT_SECONDS": 0.1,
        "STALLED_SECONDS": STALLED_SECONDS,
        "PAUSE_SECONDS": STALLED_SECONDS,
        "TAKE_OVER_SECONDS": 0.2,
        "POLL_SECONDS": 0.2,
    }
    vars(turn_queue).update(faster)
    runner.RETRY_SECONDS = 0.05
