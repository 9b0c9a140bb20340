"""Random histories of workers that share a database and are killed: what is promised holds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import defaultdict
from itertools import groupby
from typing import Any

import psycopg
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from inbound import Inbound, Kind
from inbox import Acceptance
from opening import open_postgres
from phrases import Phrases
from runner import ATTEMPTS
from sandbox.postgres import Postgres
from shared_inbox import SharedInbox
from store import Store
from tests.e2e.worker_life import live
from turn_queue import TurnQueue

PATIENCE = 60.0
FAILED = Phrases().say("failed", None)

TABLES = """
CREATE TABLE outbox (id serial PRIMARY KEY, recipient text, body text);
CREATE TABLE notes (id serial PRIMARY KEY, name uuid UNIQUE, process int, sender text, sid text,
                    what text);
"""

# Children of a process that has everything loaded start within milliseconds.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.e2e.worker_life"])


class History:
    """Does what the test made up: a web process that lives, and workers that do not."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self.url = server.database("history")
        self._database = open_postgres(self.url, connections=4)
        self.store = Store(database=self._database)
        self._inbox = SharedInbox(
            store=self.store, queue=TurnQueue(database=self._database), limit=1000
        )
        self.acknowledged: set[str] = set()
        self._workers: list[Any] = []
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(TABLES)

    def do(self, what: str, number: int) -> None:
        getattr(self, what)(number)

    def message(self, number: int) -> None:
        """Message ``number``, perhaps for the second time."""
        sid = f"SM{number}"
        received = Inbound(sid=sid, sender="abc"[number % 3], kind=Kind.TEXT, text=sid)
        acceptance = self._inbox.accept(received)
        if acceptance is Acceptance.FULL:
            # The database has just hung up on us; Twilio's user would write again.
            return
        assert (acceptance is Acceptance.DUPLICATE) == (sid in self.acknowledged)
        self.acknowledged.add(sid)

    def start(self, _: int) -> None:
        if len(self._workers) < 3:
            worker = processes.Process(target=live, args=(self.url,), daemon=True)
            worker.start()
            self._workers.append(worker)

    def kill(self, number: int) -> None:
        self._end(number, signal.SIGKILL)

    def stop(self, number: int) -> None:
        self._end(number, signal.SIGTERM)

    def hang_up(self, _: int) -> None:
        """The database server restarts, as far as its clients can tell."""
        self._server.kill_connections("history")

    def wait(self, number: int) -> None:
        time.sleep(number / 100)

    def finish(self) -> None:
        """A last worker, which nothing harms, finds an end for everything."""
        self.start(0)
        deadline = time.monotonic() + PATIENCE
        while left := self.store.unfinished():
            assert time.monotonic() < deadline, left
            time.sleep(0.02)

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.join()
        self._database.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def _end(self, number: int, kind: signal.Signals) -> None:
        if self._workers:
            worker = self._workers.pop(number % len(self._workers))
            os.kill(worker.pid, kind)
            worker.join()


STEPS = st.one_of(
    st.tuples(st.just("message"), st.integers(0, 30)),
    st.tuples(st.just("message"), st.integers(0, 30)),
    st.tuples(st.sampled_from(["start", "kill", "stop", "hang_up"]), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.integers(0, 10)),
)


@given(st.lists(STEPS, min_size=20, max_size=60))
@settings(
    max_examples=5,
    # Every try takes seconds; a shorter history would take minutes to find.
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_dies_whenever(server: Postgres, steps: list[tuple[str, int]]) -> None:
    past = History(server)
    try:
        past.start(0)
        for what, number in steps:
            past.do(what, number)
        past.finish()
        check(past)
    finally:
        past.close()


def check(past: History) -> None:
    """The promises."""
    turns = past.rows("SELECT message_sid, sender, state, attempts FROM turns ORDER BY id")
    assert {sid for sid, *_ in turns} >= past.acknowledged
    assert {state for _, _, state, _ in turns} <= {"done", "set aside"}
    answered: defaultdict[str, list[str]] = defaultdict(list)
    for sender, body in past.rows("SELECT recipient, body FROM outbox ORDER BY id"):
        answered[sender].append(body)
    for sender, group in groupby(sorted(turns, key=lambda turn: turn[1]), lambda turn: turn[1]):
        expected = [{sid, FAILED} if attempts > ATTEMPTS else {sid} for sid, *_, attempts in group]
        assert len(answered[sender]) == len(expected), sender
        assert all(map(set.__contains__, expected, answered[sender])), sender
    assert_one_at_a_time(past.rows("SELECT process, sender, sid, what FROM notes ORDER BY id"))
    event(f"taken over: {any(attempts > 1 for *_, attempts in turns)}")


def assert_one_at_a_time(notes: list[tuple[Any, ...]]) -> None:
    """Nobody asks for a sender while another process still does, unless that one died in it."""
    asking: dict[str, tuple[int, str]] = {}
    for process, sender, sid, what in notes:
        if what == "answered":
            assert asking.pop(sender) == (process, sid)
        elif sender in asking:
            former, in_question = asking[sender]
            assert former != process, f"{sender} has two turns at once"
            assert in_question == sid, f"{sid} overtakes {in_question}"
            asking[sender] = (process, sid)
        else:
            asking[sender] = (process, sid)
