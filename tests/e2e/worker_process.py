"""A minimal worker process: the real queue, runner, store and delivery, and a simple agent."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from typing import cast

import psycopg
from tenacity import Retrying, retry_if_exception_type

from core.errors import SendBusy, SendUncertain
from core.models import Answer, Turn
from metrics import Metrics
from speech.synthesis import Reply
from storage import claims as storage_claims
from storage import engine as storage_engine
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
from turns import runner as turns_runner
from turns import worker as turns_worker
from turns.heartbeat import Heartbeat
from turns.listener import Listener
from turns.notices import Notices
from turns.runner import TurnRunner
from turns.worker import TurnWorker
from whatsapp.client import WhatsApp
from whatsapp.delivery import Delivery

# Long enough that a worker on a busy machine is not taken for dead.
CLAIM_SECONDS = 3.0


class Outbox:
    """A Twilio that takes texts and lists them, in a database table that outlives every process.

    One call in five fails: it is refused, or breaks off before or after the text was taken.
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
    """Answers with the MessageSid after a moment, and records each question and answer."""

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

    def may_have_sent(self, turn: Turn) -> bool:
        return self._delivery.may_have_sent_text(turn)

    def _note(self, turn: Turn, what: str) -> None:
        """Insert a note exactly once, even if the server closes the connection meanwhile."""
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


def run_worker(url: str, outside: str) -> None:
    """Run turns of the database at ``url`` until SIGTERM.

    ``outside`` is an address of the same database that no test cuts off, for outbox and notes.
    """
    _shorten_times()
    # Blocked before any thread starts, and then waited for. A handler would not do: Python runs it
    # in the main thread, and a signal that arrives in another thread does not wake that one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
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
        max_seconds=60,
    )
    runner = TurnRunner(
        turns=store,
        handler=Echo(outside, claims, delivery),
        notices=notices,
        metrics=Metrics(),
        log_key="",
    )
    worker = TurnWorker(claims=claims, runner=runner, threads=4)
    for part in (worker, Heartbeat([claims.renew]), Listener(database=urgent, wake=worker.wake)):
        part.start()
    signal.sigwait({signal.SIGTERM})
    worker.close(10)
    # Like worker.py, do not wait for threads that are still busy.
    os._exit(0)


def _shorten_times() -> None:
    turn_queue.CLAIM_SECONDS = CLAIM_SECONDS
    storage_claims.SAFE_SECONDS = CLAIM_SECONDS / 2
    storage_claims.LOOK_SECONDS = 0.05
    heartbeat.INTERVAL_SECONDS = 0.1
    turns_worker.POLL_SECONDS = 0.2
    turns_worker.RETRY_SECONDS = 0.1
    storage_engine.CALL_SECONDS = 1.0
    turns_runner.RETRY_SECONDS = 0.05
