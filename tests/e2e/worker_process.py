"""A worker process as short as it can be: the real queue, runner, store and delivery."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from typing import cast

import psycopg
from tenacity import Retrying, retry_if_exception_type

from core.errors import SendBusy, SendUncertain
from core.models import Answer, Turn
from metrics import Metrics
from speech.synthesis import Reply
from storage import claims as claims_module
from storage import engine as opening
from storage import turn_queue
from storage.claims import Claims
from storage.engine import connect_postgres, open_postgres
from storage.leases import InMemoryLeases
from storage.outbound_messages import OutboundMessages
from storage.preferences import PreferenceTable
from storage.turn_queue import TurnQueue
from storage.turns import TurnTable
from text.phrases import Phrases
from turns import heartbeat
from turns import runner as runner_module
from turns import worker as turn_worker
from turns.heartbeat import Heartbeat
from turns.listener import Listener
from turns.notices import Notices
from turns.runner import TurnRunner
from turns.worker import TurnWorker
from whatsapp.client import WhatsApp
from whatsapp.delivery import Delivery

# Long enough for a busy machine not to take the living for dead.
CLAIM_SECONDS = 3.0


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

    def __init__(self, url: str, claims: Claims, delivery: Delivery) -> None:
        self._url = url
        self._claims = claims
        self._delivery = delivery

    def answer(self, turn: Turn) -> Reply:
        self._claims.confirm(turn)
        self._claims.mark_asked(turn)
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


def live(url: str, outside: str) -> None:
    """Run turns of the database at ``url`` until SIGTERM, or for as long as it is let.

    The world outside is kept in the same database, at an address that nobody cuts off.
    """
    _hurry()
    stopped = threading.Event()
    # In a thread of its own, for the handler interrupts this one.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stopped.set).start())
    database = open_postgres(url, connections=4)
    urgent = connect_postgres(url, connections=2, ping=False)
    store = TurnTable(database=database)
    queue = TurnQueue(database=database, single_process=False)
    claims = Claims(queue=queue, renewals=TurnQueue(database=urgent, single_process=False))
    delivery = Delivery(
        claims=claims,
        whatsapp=cast(WhatsApp, Outbox(outside)),
        outbound_messages=OutboundMessages(database=database, note_lifetime=60),
        metrics=Metrics(),
    )
    notices = Notices(
        phrases=Phrases(),
        preferences=PreferenceTable(database=database),
        leases=InMemoryLeases(),
        longest=60,
    )
    runner = TurnRunner(
        turns=store, handler=Echo(outside, claims, delivery), notices=notices, log_key=""
    )
    worker = TurnWorker(claims=claims, runner=runner, threads=4)
    for part in (worker, Heartbeat([claims.renew]), Listener(database=urgent, wake=worker.wake)):
        part.start()
    stopped.wait()
    worker.close(10)
    # As worker.py does: nobody waits for threads that were cut off.
    os._exit(0)


def _hurry() -> None:
    turn_queue.CLAIM_SECONDS = CLAIM_SECONDS
    claims_module.SURE_SECONDS = CLAIM_SECONDS / 2
    claims_module.LOOK_SECONDS = 0.05
    heartbeat.INTERVAL_SECONDS = 0.1
    turn_worker.POLL_SECONDS = 0.2
    turn_worker.RETRY_SECONDS = 0.1
    opening.CALL_SECONDS = 1.0
    runner_module.RETRY_SECONDS = 0.05
