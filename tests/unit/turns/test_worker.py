"""Each sender's turns run in order, one at a time and once; on real threads and files."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError

from core.models import Answer, Inbound, Kind, Outcome, Turn
from metrics import Metrics
from speech.synthesis import Reply
from storage.claims import Claims
from storage.database import Database
from storage.engine import FILE_NAME, open_sqlite
from storage.preferences import PreferenceTable
from storage.quotas import Quotas
from storage.schema import turns as rows
from storage.turn_queue import TurnQueue
from storage.turns import (
    RUNNING,
    STALE_SECONDS,
    UNFINISHED,
    WAITING,
    TurnTable,
    answer_columns,
)
from storage.user_ids import UserIds
from tests.sandbox.waiting import wait_until
from tests.unit.conftest import notices_of
from text.phrases import Phrases
from turns.intake import Acceptance, Intake
from turns.runner import MAX_ATTEMPTS, TurnHandler, TurnRunner
from turns.worker import TurnWorker

PATIENCE = 10.0
PHRASES = Phrases()

MakeProcess = Callable[..., "Process"]


def message(sender: str, sid: str, *, age: float = 0.0) -> Inbound:
    received = time.time() - age
    return Inbound(sid=sid, sender=sender, kind=Kind.TEXT, text=sid, received_at=received)


class Turns:
    """Handles turns and records what happened; those in ``held`` wait for their event."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.done: defaultdict[str, list[str]] = defaultdict(list)
        self.running: defaultdict[str, int] = defaultdict(int)
        self.order: list[str] = []
        self.turns: list[Turn] = []
        self.at_once = 0
        self.held: dict[str, threading.Event] = {}
        self.started: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self.failing: set[str] = set()
        self.sent: set[str] = set()
        self.apologies: list[str] = []

    def hold(self, sid: str) -> threading.Event:
        self.held[sid] = threading.Event()
        return self.held[sid]

    def __call__(self, turn: Turn) -> None:
        message = turn.message
        with self.lock:
            self.turns.append(turn)
            self.running[message.sender] += 1
            self.at_once = max(self.at_once, self.running[message.sender])
            self.started[message.sid].set()
        if message.sid in self.held:
            assert self.held[message.sid].wait(PATIENCE)
        with self.lock:
            self.done[message.sender].append(message.sid)
            self.order.append(message.sid)
            self.running[message.sender] -= 1
        if message.sid in self.failing:
            raise RuntimeError("on purpose")

    def answer(self, turn: Turn) -> None:
        self(turn)

    def deliver(self, turn: Turn, reply: Reply) -> None:
        self(turn)

    def apologise(self, turn: Turn, error: Exception) -> None:
        assert str(error) == "on purpose"
        self.apologies.append(turn.message.sid)

    def may_have_sent(self, turn: Turn) -> bool:
        return turn.message.sid in self.sent


class Process:
    """The parts of a single process that accept messages and run their turns."""

    def __init__(
        self, database: Database, talk: TurnHandler, *, threads: int = 4, limit: int = 100
    ) -> None:
        self.metrics = Metrics()
        self.store = TurnTable(database=database)
        self._queue = TurnQueue(database=database, single_process=True)
        notices = notices_of(database, PHRASES)
        self.claims = Claims(queue=self._queue, renewals=self._queue)
        self.worker = TurnWorker(
            claims=self.claims,
            runner=TurnRunner(
                turns=self.store,
                handler=talk,
                notices=notices,
                metrics=self.metrics,
                log_key="",
            ),
            threads=threads,
        )
        self.accept = Intake(
            turns=self.store,
            user_ids=UserIds(database=database),
            quotas=Quotas(database=database, quotas=()),
            limit=limit,
            wake=self.worker.wake,
        ).accept
        self.close = self.worker.close

    def start(self) -> Process:
        self._queue.requeue_running()
        self.worker.start()
        return self


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_sqlite(str(tmp_path))


@pytest.fixture
def store(database: Database) -> TurnTable:
    return TurnTable(database=database)


@pytest.fixture
def make_process(database: Database, turns: Turns) -> Iterator[MakeProcess]:
    """Starts one process after another on the same file."""
    made: list[Process] = []

    def make(*, limit: int = 100, threads: int = 4) -> Process:
        made.append(Process(database, turns, limit=limit, threads=threads))
        return made[-1].start()

    yield make
    for process in made:
        process.close(PATIENCE)


@pytest.fixture
def process(make_process: MakeProcess) -> Process:
    return make_process()


@contextmanager
def temporary_database() -> Iterator[Database]:
    """A database for one example of a property test, whose examples share fixtures."""
    with TemporaryDirectory() as folder:
        database = open_sqlite(folder)
        yield database
        database.close()


def wait_until_idle(store: TurnTable) -> None:
    """Wait until no turn is unfinished."""
    wait_until(
        lambda: store.count_unfinished(limit=1) == 0,
        "all turns to be finished",
        PATIENCE,
        every=0.001,
    )


def limit_file(database: Database, *, pages: int) -> None:
    """Limit the file to so many pages; SQLite reports a full disk beyond."""
    limit = f"PRAGMA max_page_count={pages}"
    event.listen(database.engine, "connect", lambda connection, _: connection.execute(limit))
    database.close()


def states(file: Path) -> dict[str, str]:
    with closing(sqlite3.connect(file)) as connection:
        return dict(connection.execute("SELECT message_sid, state FROM turns"))


def apology(phrase: str, language: str | None = None) -> Answer:
    return Answer(PHRASES.translate(phrase, language), language, outcome=Outcome.APOLOGY)


def leave_turn(
    database: Database, received: Inbound, *, attempts: int, answer: Answer | None = None
) -> None:
    """TurnTable a turn as a process leaves it that dies in it."""
    turn = TurnTable(database=database).insert(received)
    assert turn
    values = {"attempts": attempts} | (answer_columns(answer) if answer else {})
    state = RUNNING if attempts else WAITING
    database.change(update(rows).where(rows.c.id == turn.id).values(state=state, **values))


def unfinished(database: Database) -> dict[str, int]:
    """The attempts of unfinished turns by SID, in order."""
    wanted = select(rows).where(rows.c.state.in_(UNFINISHED)).order_by(rows.c.id)
    return {row.message_sid: row.attempts for row in database.rows(wanted)}


# Accepting


def test_messages_of_a_sender_run_in_order(
    process: Process, turns: Turns, store: TurnTable
) -> None:
    sids = [f"SM{number}" for number in range(50)]
    for sid in sids:
        assert process.accept(message("ana", sid)) is Acceptance.NEW
    wait_until_idle(store)
    assert turns.done["ana"] == sids
    assert turns.at_once == 1


def test_a_sender_does_not_wait_for_another(
    process: Process, turns: Turns, store: TurnTable
) -> None:
    """Even if more messages wait behind a slow turn than there are threads."""
    release = turns.hold("slow")
    process.accept(message("ana", "slow"))
    for number in range(20):
        process.accept(message("ana", f"behind{number}"))
    process.accept(message("ben", "quick"))
    assert turns.started["quick"].wait(PATIENCE)
    assert turns.done["ana"] == []
    release.set()
    wait_until_idle(store)
    assert len(turns.done["ana"]) == 21


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=25))
@settings(max_examples=25, deadline=None)
def test_one_thread_runs_turns_in_order_of_arrival(senders: list[str]) -> None:
    turns = Turns()
    release = turns.hold("first")
    with temporary_database() as database:
        process = Process(database, turns, threads=1).start()
        process.accept(message("zoe", "first"))
        for number, sender in enumerate(senders):
            process.accept(message(sender, f"SM{number}"))
        release.set()
        wait_until_idle(process.store)
        assert process.close(PATIENCE)
    assert turns.order == ["first", *(f"SM{number}" for number in range(len(senders)))]


def test_a_duplicate_is_not_run_while_waiting_running_or_done(
    process: Process, turns: Turns, store: TurnTable
) -> None:
    release = turns.hold("SM1")
    assert process.accept(message("ana", "SM1")) is Acceptance.NEW
    assert process.accept(message("ana", "SM2")) is Acceptance.NEW
    assert process.accept(message("ana", "SM1")) is Acceptance.DUPLICATE
    assert process.accept(message("ben", "SM2")) is Acceptance.DUPLICATE
    release.set()
    wait_until_idle(store)
    assert process.accept(message("ana", "SM1")) is Acceptance.DUPLICATE
    assert process.close(PATIENCE)
    assert turns.done == {"ana": ["SM1", "SM2"]}


def test_one_of_simultaneous_duplicates_is_new(
    process: Process, turns: Turns, store: TurnTable
) -> None:
    together = threading.Barrier(20)

    def accept(_: int) -> Acceptance:
        together.wait(PATIENCE)
        return process.accept(message("ana", "SM1"))

    with ThreadPoolExecutor(20) as callers:
        results = list(callers.map(accept, range(20)))
    assert results.count(Acceptance.NEW) == 1
    assert results.count(Acceptance.DUPLICATE) == 19
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1"]}


def test_a_message_refused_for_lack_of_room_may_come_again(
    make_process: MakeProcess, turns: Turns, store: TurnTable
) -> None:
    """A repetition of an accepted message counts as a duplicate even then."""
    process = make_process(limit=2)
    release = turns.hold("SM1")
    assert process.accept(message("ana", "SM1")) is Acceptance.NEW
    assert process.accept(message("ana", "SM2")) is Acceptance.NEW
    assert process.accept(message("ben", "SM3")) is Acceptance.FULL
    assert process.accept(message("ana", "SM1")) is Acceptance.DUPLICATE
    assert process.accept(message("ana", "SM2")) is Acceptance.DUPLICATE
    last = turns.hold("SM2")
    release.set()
    assert turns.started["SM2"].wait(PATIENCE)
    assert process.accept(message("ben", "SM3")) is Acceptance.NEW
    last.set()
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1", "SM2"], "ben": ["SM3"]}


def test_the_limit_holds_for_simultaneous_messages(make_process: MakeProcess, turns: Turns) -> None:
    process = make_process(limit=3)
    release = threading.Event()
    turns.held = {f"SM{number}": release for number in range(40)}
    with ThreadPoolExecutor(20) as callers:
        acceptances = list(
            callers.map(lambda n: process.accept(message(f"s{n}", f"SM{n}")), range(40))
        )
    release.set()
    assert acceptances.count(Acceptance.NEW) == 3
    assert acceptances.count(Acceptance.FULL) == 37
    assert process.close(PATIENCE)


def test_a_turn_that_raises_does_not_stop_the_sender(
    process: Process, turns: Turns, store: TurnTable
) -> None:
    """Its sender gets an apology for any exception."""
    turns.failing = {"SM1", "SM2"}
    last = turns.hold("SM3")
    for sid in ("SM1", "SM2", "SM3"):
        process.accept(message("ana", sid))
    assert turns.started["SM3"].wait(PATIENCE)
    last.set()
    assert process.close(PATIENCE)
    assert turns.done["ana"] == ["SM1", "SM2", "SM3"]
    assert store.count_unfinished(limit=1) == 0
    assert turns.apologies == ["SM1", "SM2"]


def test_a_full_disk_refuses_the_message(
    database: Database, store: TurnTable, make_process: MakeProcess, turns: Turns
) -> None:
    """Its sender is asked to come back; the message may come again."""
    process = make_process(limit=1)
    limit_file(database, pages=1)
    for sid in ("SM1", "SM2"):
        large = Inbound(sid=sid, sender="ana", kind=Kind.TEXT, text="x" * 100_000)
        assert process.accept(large) is Acceptance.FAILED
    assert process.close(0)
    limit_file(database, pages=100_000)
    process = make_process(limit=1)
    assert process.accept(message("ana", "SM1")) is Acceptance.NEW
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1"]}


def test_a_turn_whose_end_cannot_be_stored_is_retried_before_the_next(
    process: Process, turns: Turns, store: TurnTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only later turns of the same sender wait for it."""
    monkeypatch.setattr("turns.runner.RETRY_SECONDS", 0.01)
    finish, mended = process.store.finish, threading.Event()

    def refuse(turn: Turn) -> None:
        if turn.message.sid == "SM1" and not mended.is_set():
            raise OperationalError("UPDATE", {}, sqlite3.OperationalError("disk I/O error"))
        finish(turn)

    monkeypatch.setattr(process.store, "finish", refuse)
    for sender, sid in (("ana", "SM1"), ("ana", "SM2"), ("ben", "SM3")):
        process.accept(message(sender, sid))
    assert turns.started["SM3"].wait(PATIENCE)
    mended.set()
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1", "SM2"], "ben": ["SM3"]}


def test_a_turn_whose_end_cannot_be_stored_is_left_when_the_process_stops(
    process: Process, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def refuse(turn: Turn) -> None:
        failed.set()
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr(process.store, "finish", refuse)
    process.accept(message("ana", "SM1"))
    assert failed.wait(PATIENCE)
    assert process.close(PATIENCE)
    assert unfinished(database) == {"SM1": 0}


# Closing


def test_a_stopping_process_finishes_running_turns_and_leaves_the_rest(
    process: Process, make_process: MakeProcess, turns: Turns, database: Database, store: TurnTable
) -> None:
    """Messages that come meanwhile are stored too, and the next process runs all in order."""
    release = turns.hold("SM1")
    process.accept(message("ana", "SM1"))
    process.accept(message("ana", "SM2"))
    assert turns.started["SM1"].wait(PATIENCE)
    assert not process.close(0.01)
    assert process.accept(message("ana", "SM3")) is Acceptance.NEW
    assert process.accept(message("ben", "SM4")) is Acceptance.NEW
    assert process.accept(message("ben", "SM4")) is Acceptance.DUPLICATE
    release.set()
    assert process.close(PATIENCE)
    assert process.accept(message("ana", "SM5")) is Acceptance.NEW
    assert turns.order == ["SM1"]
    # The first was given back when it was cut off, as it had not asked the agent.
    assert unfinished(database) == dict.fromkeys(("SM1", "SM2", "SM3", "SM4", "SM5"), 0)
    process = make_process()
    assert process.accept(message("ana", "SM6")) is Acceptance.NEW
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1", "SM1", "SM2", "SM3", "SM5", "SM6"], "ben": ["SM4"]}


def test_a_turn_that_waits_for_a_thread_is_not_begun_after_closing(
    make_process: MakeProcess, turns: Turns, database: Database
) -> None:
    process = make_process(threads=1)
    release = turns.hold("SM1")
    process.accept(message("ana", "SM1"))
    process.accept(message("ben", "SM2"))
    assert turns.started["SM1"].wait(PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(process.close, PATIENCE)
        release.set()
        assert closing.result()
    assert turns.order == ["SM1"]
    assert unfinished(database) == {"SM2": 0}


def test_a_process_without_turns_closes_at_once(process: Process) -> None:
    assert process.close(0)


def test_accepting_may_race_with_closing(
    make_process: MakeProcess, turns: Turns, store: TurnTable
) -> None:
    """Every message is run either by this process or by the next one."""
    process = make_process(limit=10_000)

    def accept(number: int) -> Acceptance:
        return process.accept(message(f"s{number % 7}", f"SM{number:03}"))

    with ThreadPoolExecutor(8) as callers:
        acceptances = callers.map(accept, range(300))
        while len(turns.order) < 30:
            time.sleep(0)
        assert process.close(PATIENCE)
        ran = len(turns.order)
    assert set(acceptances) == {Acceptance.NEW}
    assert len(turns.order) == ran < 300
    make_process(limit=10_000)
    wait_until_idle(store)
    assert sorted(turns.order) == [f"SM{number:03}" for number in range(300)]


# Recovering


def test_turns_left_by_a_process_run_before_new_ones(
    make_process: MakeProcess, turns: Turns, database: Database, store: TurnTable
) -> None:
    leave_turn(database, message("ana", "SM1"), attempts=1)
    leave_turn(database, message("ben", "SM2"), attempts=1)
    leave_turn(database, message("ana", "SM3"), attempts=0)
    release = turns.hold("SM1")
    process = make_process()
    assert process.accept(message("ana", "SM1")) is Acceptance.DUPLICATE
    assert process.accept(message("ana", "SM4")) is Acceptance.NEW
    release.set()
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1", "SM3", "SM4"], "ben": ["SM2"]}


def test_a_stored_answer_is_not_asked_for_again(
    make_process: MakeProcess, turns: Turns, database: Database, store: TurnTable
) -> None:
    """Even if it is late, because parts of it may have arrived."""
    answer = Answer("Hello", "en", aloud="Hello", waited=1.5)
    leave_turn(database, message("ana", "SM1", age=STALE_SECONDS * 2), attempts=1, answer=answer)
    make_process()
    wait_until_idle(store)
    assert [turn.answer for turn in turns.turns] == [answer]


@pytest.mark.parametrize("attempts", range(MAX_ATTEMPTS))
def test_a_sender_who_waited_too_long_is_asked_to_write_again(
    make_process: MakeProcess, turns: Turns, database: Database, store: TurnTable, attempts: int
) -> None:
    PreferenceTable(database=database).save_language("ben", "ar")
    leave_turn(database, message("ana", "SM1", age=STALE_SECONDS - 60), attempts=attempts)
    leave_turn(database, message("ben", "SM2", age=STALE_SECONDS + 1), attempts=attempts)
    make_process()
    wait_until_idle(store)
    answers = {turn.message.sid: turn.answer for turn in turns.turns}
    assert answers == {"SM1": None, "SM2": apology("resend", "ar")}


def test_a_turn_that_killed_the_process_too_often_gets_an_apology(
    make_process: MakeProcess, turns: Turns, database: Database, store: TurnTable
) -> None:
    PreferenceTable(database=database).save_language("ben", "ar")
    leave_turn(database, message("ana", "SM1"), attempts=MAX_ATTEMPTS - 1)
    leave_turn(database, message("ben", "SM2"), attempts=MAX_ATTEMPTS)
    make_process()
    wait_until_idle(store)
    answers = {turn.message.sid: turn.answer for turn in turns.turns}
    assert answers == {"SM1": None, "SM2": apology("failed", "ar")}


def test_an_answer_that_killed_the_process_too_often_is_sent_without_its_voice(
    make_process: MakeProcess, turns: Turns, database: Database, store: TurnTable
) -> None:
    """A sender who got the text must not get an apology as well."""
    answer = Answer("Hello", "en", aloud="Hello", waited=1.5)
    leave_turn(database, message("ana", "SM1"), attempts=MAX_ATTEMPTS, answer=answer)
    turns.sent.add("SM1")
    make_process()
    wait_until_idle(store)
    assert [turn.answer for turn in turns.turns] == [Answer("Hello", "en", waited=1.5)]


def test_an_answer_that_could_not_be_sent_at_all_is_replaced_by_an_apology(
    make_process: MakeProcess, turns: Turns, database: Database, store: TurnTable
) -> None:
    """Sending the answer may be what kills the process."""
    leave_turn(
        database,
        message("ana", "SM1"),
        attempts=MAX_ATTEMPTS,
        answer=Answer("Hello", "en", "Hello"),
    )
    make_process()
    wait_until_idle(store)
    assert [turn.answer for turn in turns.turns] == [apology("failed", None)]


def test_a_turn_whose_apology_kills_too_is_set_aside(
    make_process: MakeProcess, turns: Turns, database: Database, store: TurnTable, tmp_path: Path
) -> None:
    """The next message of its sender is answered."""
    answer = apology("failed", None)
    leave_turn(database, message("ana", "SM1"), attempts=MAX_ATTEMPTS + 1, answer=answer)
    leave_turn(database, message("ana", "SM2"), attempts=0)
    process = make_process()
    wait_until_idle(store)
    assert turns.order == ["SM2"]
    assert states(tmp_path / FILE_NAME) == {"SM1": "set aside", "SM2": "done"}
    assert process.metrics.snapshot().counters["turns_failed"] == 1


# Histories


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 60), st.booleans()), max_size=80),
    st.integers(1, 6),
    st.integers(5, 100),
)
@settings(max_examples=40, deadline=None)
def test_any_history_runs_each_message_once_and_in_order(
    history: list[tuple[str, int, bool]], threads: int, limit: int
) -> None:
    """Accepted once means run once, in the sender's order, never two at a time."""
    turns = Turns()
    expected: defaultdict[str, list[str]] = defaultdict(list)
    with temporary_database() as database:
        process = Process(database, turns, threads=threads, limit=limit).start()
        seen: set[str] = set()
        for sender, number, fails in history:
            sid = f"SM{number}"
            if fails:
                turns.failing.add(sid)
            acceptance = process.accept(message(sender, sid))
            if acceptance is Acceptance.NEW:
                expected[sender].append(sid)
            assert (acceptance is Acceptance.DUPLICATE) == (sid in seen)
            if acceptance is not Acceptance.FULL:
                seen.add(sid)
        wait_until(lambda: len(turns.order) == len(seen), "all turns to run", PATIENCE, every=0.001)
        assert process.close(PATIENCE)
    assert turns.done == expected
    assert turns.at_once <= 1


def test_many_threads_accept_messages_at_the_same_time(
    make_process: MakeProcess, turns: Turns, store: TurnTable
) -> None:
    process = make_process(limit=10_000)
    senders = [f"sender{number}" for number in range(8)]

    def hand_in(sender: str) -> None:
        for number in range(100):
            process.accept(message(sender, f"{sender}-{number}"))

    with ThreadPoolExecutor(8) as callers:
        list(callers.map(hand_in, senders))
    wait_until_idle(store)
    for sender, done in turns.done.items():
        assert done == [f"{sender}-{number}" for number in range(100)]
    assert len(list(itertools.chain(*turns.done.values()))) == 800


def test_only_the_last_of_several_stale_messages_is_asked_for_again(
    make_process: MakeProcess, turns: Turns, database: Database, store: TurnTable
) -> None:
    for sid in ("SM1", "SM2"):
        leave_turn(database, message("ana", sid, age=STALE_SECONDS + 1), attempts=0)
    make_process()
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM2"]}


def test_a_stale_message_is_asked_for_again_although_a_recent_one_is_answered(
    make_process: MakeProcess, turns: Turns, database: Database, store: TurnTable
) -> None:
    leave_turn(database, message("ana", "SM1", age=STALE_SECONDS + 1), attempts=0)
    leave_turn(database, message("ana", "SM2", age=STALE_SECONDS - 60), attempts=0)
    make_process()
    wait_until_idle(store)
    answers = {turn.message.sid: turn.answer for turn in turns.turns}
    assert answers == {"SM1": apology("resend"), "SM2": None}


def test_a_turn_that_a_stop_cuts_off_counts_no_attempt(
    process: Process, turns: Turns, database: Database
) -> None:
    release = turns.hold("SM1")
    process.accept(message("ana", "SM1"))
    assert turns.started["SM1"].wait(PATIENCE)
    assert not process.close(0)
    assert unfinished(database) == {"SM1": 0}
    release.set()


def test_a_question_that_stops_cut_off_is_asked_twice_and_then_gets_an_apology(
    make_process: MakeProcess, turns: Turns, database: Database, store: TurnTable
) -> None:
    """The agent takes longer than a stop waits for it."""
    store.insert(message("ana", "SM1"))
    release = turns.hold("SM1")
    for number in (1, 2):
        process = make_process()
        assert turns.started["SM1"].wait(PATIENCE)
        process.claims.mark_asked(turns.turns[-1])
        assert not process.close(0)
        assert unfinished(database) == {"SM1": number}
        turns.started.clear()
    release.set()
    make_process()
    wait_until_idle(store)
    answers = [turn.answer for turn in turns.turns]
    assert answers == [None, None, apology("failed", None)]


def test_a_turn_that_fails_again_and_again_is_set_aside(
    make_process: MakeProcess,
    turns: Turns,
    store: TurnTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next message of its sender is answered."""
    monkeypatch.setattr("turns.worker.RETRY_SECONDS", 0.001)
    turns.failing = {"SM1"}
    monkeypatch.setattr(turns, "apologise", lambda turn, error: turns(turn))
    process = make_process()
    process.accept(message("ana", "SM1"))
    process.accept(message("ana", "SM2"))
    wait_until_idle(store)
    assert states(tmp_path / FILE_NAME) == {"SM1": "set aside", "SM2": "done"}
    assert len(turns.turns) == 2 * (MAX_ATTEMPTS + 1) + 1
