"""Random histories of processes that share a database file and die at any step."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sql_event

from core.errors import SendBusy
from core.models import Inbound, Kind, Turn
from metrics import Metrics
from speech.synthesis import Reply
from storage.claims import Claims
from storage.database import Database
from storage.engine import FILE_NAME, open_sqlite
from storage.quotas import Quotas
from storage.turn_queue import TurnQueue
from storage.turns import TurnTable
from storage.user_ids import UserIds
from tests.unit.conftest import notices_of
from text.phrases import Phrases
from turns import runner
from turns.intake import Acceptance, Intake
from turns.runner import MAX_ATTEMPTS, TurnRunner
from turns.worker import TurnWorker

PATIENCE = 10.0
PHRASES = Phrases()
FAILED = PHRASES.translate("failed", None)


@pytest.fixture(autouse=True, scope="module")
def short_retries() -> Iterator[None]:
    """Failed turns are tried again at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "RETRY_SECONDS", 0.001)
        yield


class Died(BaseException):
    """Raised at every step of a process that is dead."""


class Record:
    """The database file and what the senders saw; it outlives every process."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.acknowledged: set[str] = set()
        self.starts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.told: set[str] = set()
        self.order: defaultdict[str, list[str]] = defaultdict(list)
        self.running: Counter[str] = Counter()
        self.broken: list[str] = []
        # Create the file.
        open_sqlite(folder).close()

    def rows(self, columns: str, where: str = "1") -> list[tuple[Any, ...]]:
        """Rows of the turns table, read from outside the process."""
        with closing(sqlite3.connect(Path(self.folder, FILE_NAME), timeout=PATIENCE)) as file:
            return file.execute(f"SELECT {columns} FROM turns WHERE {where} ORDER BY id").fetchall()

    def count(self, turn: Turn, starts: int) -> None:
        with self.lock:
            self.starts[turn.message.sid] += starts

    def enter(self, turn: Turn) -> None:
        """Note that a turn begins, and whether it may: it must be its sender's oldest open one."""
        sid, sender = turn.message.sid, turn.message.sender
        open_ = self.rows("message_sid", f"sender = '{sender}' AND state IN ('waiting', 'running')")
        with self.lock:
            self.running[sender] += 1
            if self.running[sender] > 1:
                self.broken.append(f"{sender} has two turns at once")
            if not open_ or open_[0] != (sid,):
                self.broken.append(f"{sid} begins before its time: {open_}")
            if bool(turn.answer) != (self.starts[sid] == MAX_ATTEMPTS + 1):
                self.broken.append(f"{sid} given up at the wrong start: {self.starts[sid]}")

    def end(self, turn: Turn) -> None:
        """Note that the sender got the answer or the apology, which is not stored yet."""
        with self.lock:
            sid = turn.message.sid
            self.ends[sid] += 1
            if turn.answer:
                self.told.add(sid)
                if turn.answer.text != FAILED:
                    self.broken.append(f"{sid} got {turn.answer.text!r}")
            self.order[turn.message.sender].append(sid)

    def leave(self, turn: Turn) -> None:
        with self.lock:
            self.running[turn.message.sender] -= 1


class CountingQueue(TurnQueue):
    """Notes in the record each start that is counted and each that is taken back."""

    def __init__(self, record: Record, database: Database) -> None:
        super().__init__(database=database, single_process=True)
        self._record = record
        self.begun: set[str] = set()

    def claim(self, most: int) -> list[Turn]:
        claimed: list[Turn] = []
        # No test waits for the thread that claims.
        with suppress(Died):
            claimed = super().claim(most)
        for turn in claimed:
            self._record.count(turn, 1)
            self.begun.add(turn.message.sid)
        return claimed

    def release(
        self, left: Collection[Turn], *, asked: Collection[int], failed: Collection[int] = ()
    ) -> None:
        before = [self._attempts(turn) for turn in left]
        super().release(left, asked=asked, failed=failed)
        for turn, attempts in zip(left, before, strict=True):
            self._record.count(turn, self._attempts(turn) - attempts)

    def _attempts(self, turn: Turn) -> int:
        ((attempts,),) = self._record.rows("attempts", f"id = {turn.id}")
        return int(attempts)


class Process:
    """One process of the service; it dies after ``fuse`` steps, or never if that is ``None``."""

    def __init__(self, record: Record, threads: int, fuse: int | None) -> None:
        self.dead = False
        self._record = record
        self._fuse = fuse
        self._failures = 0
        self._lock = threading.Lock()
        self._may_run = threading.Event()
        self._may_run.set()
        self._database = open_sqlite(record.folder)
        # Every statement and every commit is a step.
        sql_event.listen(self._database.engine, "before_cursor_execute", lambda *_: self._step())
        sql_event.listen(self._database.engine, "commit", lambda *_: self._step())
        self.store = TurnTable(database=self._database)
        self.queue = CountingQueue(record, self._database)
        notices = notices_of(self._database, PHRASES)
        self._worker = TurnWorker(
            claims=Claims(queue=self.queue, renewals=self.queue),
            runner=TurnRunner(
                turns=self.store, handler=self, notices=notices, metrics=Metrics(), log_key=""
            ),
            threads=threads,
        )
        self.accept = Intake(
            turns=self.store,
            user_ids=UserIds(database=self._database),
            quotas=Quotas(database=self._database, quotas=()),
            limit=1000,
            wake=self._worker.wake,
        ).accept
        self.close = self._worker.close

    def start(self) -> None:
        self.queue.requeue_running()
        self._worker.start()

    def hold(self) -> None:
        """Make providers slow: turns begin and do not end."""
        self._may_run.clear()

    def release(self) -> None:
        self._may_run.set()

    def die_after(self, steps: int) -> None:
        with self._lock:
            self._fuse = steps

    def kill(self) -> None:
        """End the process: none of its threads changes anything from now on."""
        with self._lock:
            self.dead = True
        self.release()
        with suppress(Died):
            self._worker.close(PATIENCE)
        self._database.close()
        self._record.running.clear()

    def _step(self) -> None:
        with self._lock:
            if self._fuse is not None:
                self._fuse -= 1
                self.dead = self.dead or self._fuse < 0
            if self.dead:
                self._may_run.set()
                raise Died

    def fail(self, times: int) -> None:
        """Make the next calls of a provider fail."""
        with self._lock:
            self._failures = times

    def answer(self, turn: Turn) -> None:
        with self._lock:
            self._failures -= 1
            if self._failures >= 0:
                raise SendBusy
        self._run(turn)

    def deliver(self, turn: Turn, reply: Reply) -> None:
        self._run(turn)

    def apologise(self, turn: Turn, error: Exception) -> None:
        """The process died, so it cannot apologise either."""
        raise error

    def may_have_sent(self, turn: Turn) -> bool:
        """Return ``False``: no answer is stored here before its turn is given up."""
        return False

    def _run(self, turn: Turn) -> None:
        self._record.enter(turn)
        try:
            self._may_run.wait(PATIENCE)
            self._step()
            self._record.end(turn)
            self._step()
        finally:
            self._record.leave(turn)


class History:
    """Carries out the steps of a test, and starts another process whenever one died."""

    def __init__(self, folder: str, threads: int) -> None:
        self.record = Record(folder)
        self._threads = threads
        self._process = self._start(None)

    def do(self, what: str, number: int) -> None:
        try:
            if self._process.dead:
                raise Died
            getattr(self, what)(number)
        except Died:
            self._process.kill()
            self._process = self._start(number)

    def message(self, number: int) -> None:
        """Post message ``number``, perhaps for the second time."""
        sid = f"SM{number}"
        known = (sid,) in self.record.rows("message_sid")
        received = Inbound(sid=sid, sender="abc"[number % 3], kind=Kind.TEXT, text=sid)
        acceptance = self._process.accept(received)
        assert acceptance is (Acceptance.DUPLICATE if known else Acceptance.NEW)
        self.record.acknowledged.add(sid)

    def hold(self, _: int) -> None:
        self._process.hold()

    def release(self, _: int) -> None:
        self._process.release()

    def die_after(self, number: int) -> None:
        self._process.die_after(number)

    def fail(self, number: int) -> None:
        self._process.fail(number)

    def crash(self, _: int) -> None:
        raise Died

    def stop(self, _: int) -> None:
        """Stop cleanly: running turns finish, and waiting ones must not be counted as begun."""
        self._process.release()
        if self._process.close(PATIENCE):
            # A turn that a former process ran may be waiting in this one.
            running = {sid for (sid,) in self.record.rows("message_sid", "state = 'running'")}
            assert self._process.dead or not running & self._process.queue.begun
        raise Died

    def finish(self) -> None:
        """Let a last process, which does not die, finish all turns."""
        self._process.kill()
        self._process = self._start(None)
        deadline = time.monotonic() + PATIENCE
        while self._process.store.count_unfinished(limit=1):
            assert time.monotonic() < deadline, self.record.rows("message_sid, state, attempts")
            time.sleep(0.001)
        assert self._process.close(PATIENCE)
        self._process.kill()

    def _start(self, fuse: int | None) -> Process:
        """Start processes until one survives its start."""
        process = Process(self.record, self._threads, fuse)
        try:
            process.start()
        except Died:
            process.kill()
            return self._start(None)
        return process


STEPS = st.one_of(
    st.tuples(st.just("message"), st.integers(0, 20)),
    st.tuples(st.just("die_after"), st.integers(0, 25)),
    st.tuples(st.just("fail"), st.integers(1, 5)),
    st.tuples(st.sampled_from(["crash", "stop", "hold", "release"]), st.integers(0, 40)),
)


@given(st.lists(STEPS, min_size=5, max_size=40), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_processes_that_die_at_any_step(history: list[tuple[str, int]], threads: int) -> None:
    with TemporaryDirectory() as folder:
        past = History(folder, threads)
        for what, number in history:
            past.do(what, number)
        past.finish()
        check(past.record)


@given(st.lists(st.integers(0, 5), min_size=4, max_size=8), st.integers(0, 14))
@settings(max_examples=30, deadline=None)
@pytest.mark.slow
def test_turns_whose_process_dies_again_and_again_are_given_up(
    messages: list[int], steps: int
) -> None:
    """Every process dies a few steps after its start."""
    with TemporaryDirectory() as folder:
        past = History(folder, 2)
        past.do("hold", 0)
        for number in messages:
            past.do("message", number)
        for _ in range(MAX_ATTEMPTS + 2):
            past.do("crash", steps + 4)
        past.finish()
        check(past.record)


def check(record: Record) -> None:
    """Raise unless every message was answered as often and in the order that is promised."""
    assert record.broken == []
    rows = record.rows("message_sid, sender, state, attempts")
    assert record.acknowledged <= {sid for sid, *_ in rows}
    ended = {sid for sid, _, state, _ in rows if state == "done"}
    set_aside = {sid for sid, _, state, _ in rows if state == "set aside"}
    assert ended | set_aside == {sid for sid, *_ in rows}
    # The attempts in the database are the starts that happened.
    assert {sid: attempts for sid, _, _, attempts in rows if attempts} == dict(+record.starts)
    # A done turn reached its sender. One is set aside only after attempts to apologise died too.
    assert ended <= set(record.ends)
    assert all(record.starts[sid] > MAX_ATTEMPTS + 1 for sid in set_aside)
    # A sender gets no more answers than there were starts.
    for sid, times in record.ends.items():
        assert times <= min(record.starts[sid], MAX_ATTEMPTS + 1)
    for sender, order in record.order.items():
        by_arrival = [sid for sid, of, *_ in rows if of == sender and sid in record.ends]
        assert list(dict.fromkeys(order)) == by_arrival
    event(f"told: {bool(record.told)}, set aside: {bool(set_aside)}")
    event(f"crashed in a turn: {any(n > 1 for n in record.starts.values())}")
