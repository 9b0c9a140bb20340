"""Random histories of workers that share a database and die or are cut off from it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import groupby
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from core.models import Inbound, Kind
from sandbox.database_proxy import DatabaseProxy
from sandbox.postgres import Postgres
from storage.engine import open_postgres
from storage.quotas import Quotas
from storage.turns import TurnTable
from storage.user_ids import UserIds
from tests.e2e.killed_start import killed_start
from tests.e2e.worker_process import CLAIM_SECONDS, run_worker
from text.phrases import Phrases
from turns.intake import Acceptance, Intake
from turns.runner import MAX_ATTEMPTS

pytestmark = pytest.mark.slow

PATIENCE = 60.0
FAILED = Phrases().translate("failed", None)

TABLES = """
CREATE TABLE outbox (id serial PRIMARY KEY, recipient text, body text);
CREATE TABLE notes (id serial PRIMARY KEY, name uuid UNIQUE, process int, sender text, sid text,
                    what text);
"""

# Forks of a server process that has imported everything start within milliseconds.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.e2e.worker_process"])


class History:
    """Carries out the steps of a test: a web process that lives, and workers that may not."""

    def __init__(self, server: Postgres, statements: int) -> None:
        """The very first start is killed behind so many statements, if it takes more."""
        self._server = server
        self.url = server.database("history")
        killed_start(self.url, statements)
        self._database = open_postgres(self.url, connections=4)
        self.store = TurnTable(database=self._database)
        self._intake = Intake(
            turns=self.store,
            user_ids=UserIds(database=self._database),
            quotas=Quotas(database=self._database, quotas=()),
            limit=1000,
            wake=lambda: None,
        )
        self.acknowledged: set[str] = set()
        self._workers: list[Worker] = []
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(TABLES)

    def do(self, what: str, number: int) -> None:
        getattr(self, what)(number)

    def message(self, number: int) -> None:
        """Post message ``number``, perhaps for the second time."""
        sid = f"SM{number}"
        received = Inbound(sid=sid, sender="abc"[number % 3], kind=Kind.TEXT, text=sid)
        acceptance = self._intake.accept(received)
        if acceptance is Acceptance.FAILED:
            # The database has just hung up on us; Twilio's user would write again.
            return
        assert (acceptance is Acceptance.DUPLICATE) == (sid in self.acknowledged)
        self.acknowledged.add(sid)

    def start(self, _: int) -> None:
        if len(self._workers) < 3:
            self._workers.append(Worker(self._server, self.url))

    def kill(self, number: int) -> None:
        self._end(number, signal.SIGKILL)

    def stop(self, number: int) -> None:
        self._end(number, signal.SIGTERM)

    def cut_off(self, number: int) -> None:
        """Cut the connections between a worker and the database for some seconds."""
        if self._workers:
            self._workers[number % len(self._workers)].cut_off(number * CLAIM_SECONDS / 2)

    def pause(self, number: int) -> None:
        if self._workers:
            self._workers[number % len(self._workers)].pause(number * CLAIM_SECONDS / 2)

    def hang_up(self, _: int) -> None:
        """Close all database connections, as a restart of the server does."""
        self._server.kill_connections("history")

    def wait(self, number: int) -> None:
        time.sleep(number / 100)

    def finish(self) -> None:
        """Let a last worker, which nothing disturbs, finish all turns."""
        self.start(0)
        deadline = time.monotonic() + PATIENCE
        while left := self.store.count_unfinished(limit=100):
            assert time.monotonic() < deadline, left
            time.sleep(0.02)

    def close(self) -> None:
        for worker in self._workers:
            worker.end(signal.SIGKILL)
        self._database.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def _end(self, number: int, kind: signal.Signals) -> None:
        if self._workers:
            self._workers.pop(number % len(self._workers)).end(kind)


class Worker:
    """A worker process that reaches the database through a proxy of its own."""

    def __init__(self, server: Postgres, url: str) -> None:
        self._proxy = DatabaseProxy(server.socket)
        self._proxy.start()
        self._process = processes.Process(
            target=run_worker, args=(self._proxy.url("history"), url), daemon=True
        )
        self._process.start()
        self._mended = threading.Thread()

    def cut_off(self, seconds: float) -> None:
        """Lose all data for some seconds, then close the connections."""
        self._later(seconds, self._proxy.cut, self._mend)

    def pause(self, seconds: float) -> None:
        self._later(
            seconds, lambda: self._signal(signal.SIGSTOP), lambda: self._signal(signal.SIGCONT)
        )

    def end(self, kind: signal.Signals) -> None:
        if self._mended.ident:
            self._mended.join()
        self._signal(kind)
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, f"the worker does not end on {kind.name}"
        self._proxy.stop()

    def _later(self, seconds: float, now: Callable[[], None], then: Callable[[], None]) -> None:
        """Call ``now``, and ``then`` some seconds later, unless an earlier disturbance lasts."""
        if not self._mended.is_alive():
            now()
            self._mended = threading.Timer(seconds, then)
            self._mended.start()

    def _mend(self) -> None:
        self._proxy.restore()
        self._proxy.drop()

    def _signal(self, kind: signal.Signals) -> None:
        assert self._process.pid
        os.kill(self._process.pid, kind)


STEPS = st.one_of(
    st.tuples(st.just("message"), st.integers(0, 30)),
    st.tuples(st.just("message"), st.integers(0, 30)),
    st.tuples(st.sampled_from(["start", "kill", "stop", "hang_up"]), st.integers(0, 2)),
    st.tuples(st.sampled_from(["start", "cut_off", "pause"]), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.integers(0, 10)),
)


@given(st.lists(STEPS, min_size=20, max_size=60), st.integers(0, 70))
@settings(
    max_examples=5,
    # Every try takes seconds; a shorter history would take minutes to find.
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_workers_that_die_or_lose_the_database_at_any_time(
    server: Postgres, steps: list[tuple[str, int]], statements: int
) -> None:
    history = History(server, statements)
    try:
        history.start(0)
        for what, number in steps:
            history.do(what, number)
        history.finish()
        check(history)
    finally:
        history.close()


def check(history: History) -> None:
    """Raise unless every message was answered as often and in the order that is promised."""
    turns = history.rows("SELECT message_sid, sender, state, attempts FROM turns ORDER BY id")
    assert {sid for sid, *_ in turns} >= history.acknowledged
    assert {state for _, _, state, _ in turns} <= {"done", "set aside"}
    answered: defaultdict[str, list[str]] = defaultdict(list)
    for sender, body in history.rows("SELECT recipient, body FROM outbox ORDER BY id"):
        answered[sender].append(body)
    for sender, group in groupby(sorted(turns, key=lambda turn: turn[1]), lambda turn: turn[1]):
        expected = [
            {sid, FAILED} if attempts > MAX_ATTEMPTS else {sid} for sid, *_, attempts in group
        ]
        assert len(answered[sender]) == len(expected), sender
        assert all(map(set.__contains__, expected, answered[sender])), sender
    asked = history.rows("SELECT sender, sid FROM notes WHERE what = 'asked' ORDER BY id")
    order = {sid: number for number, (sid, *_) in enumerate(turns)}
    assert_in_order(asked, order)
    assert max(Counter(asked).values(), default=0) <= MAX_ATTEMPTS
    event(f"taken over: {any(attempts > 1 for *_, attempts in turns)}")


def assert_in_order(asked: list[tuple[str, str]], order: dict[str, int]) -> None:
    """Raise if a question of a sender was asked before an earlier one or after a later one."""
    last: dict[str, int] = {}
    for sender, sid in asked:
        assert order[sid] >= last.get(sender, 0), f"{sid} comes after its time"
        last[sender] = order[sid]
