"""Each sender's messages in order, one at a time, once; on real threads and real files."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from database import Database
from inbound import Inbound, Kind
from inbox import Acceptance, Inbox
from narration import Reply
from opening import FILE_NAME, open_sqlite
from phrases import Phrases
from runner import ATTEMPTS, Runner, Talk
from standard_replies import StandardReplies
from store import STALE_SECONDS, Answer, Store, Turn

PATIENCE = 10.0
PHRASES = Phrases()

MakeInbox = Callable[..., Inbox]


def message(sender: str, sid: str, *, age: float = 0.0) -> Inbound:
    received = time.time() - age
    return Inbound(sid=sid, sender=sender, kind=Kind.TEXT, text=sid, received_at=received)


class Turns:
    """Runs messages and notes what happened; those in ``held`` wait until let go."""

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

    def was_sent(self, turn: Turn) -> bool:
        return turn.message.sid in self.sent


def inbox_on(
    store: Store,
    talk: Talk,
    pool: ThreadPoolExecutor,
    *,
    limit: int = 100,
) -> Inbox:
    replies = StandardReplies(phrases=PHRASES, store=store)
    runner = Runner(store=store, talk=talk, replies=replies, log_key="")
    return Inbox(store=store, runner=runner, pool=pool, limit=limit)


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(database=open_sqlite(str(tmp_path)))


@pytest.fixture
def make_inbox(store: Store, turns: Turns, pool: ThreadPoolExecutor) -> MakeInbox:
    """An inbox as every process makes one, on the same file."""

    def make(*, limit: int = 100, pool: ThreadPoolExecutor = pool) -> Inbox:
        return inbox_on(store, turns, pool, limit=limit)

    return make


@pytest.fixture
def inbox(make_inbox: MakeInbox) -> Inbox:
    return make_inbox()


@contextmanager
def temporary_store() -> Iterator[Store]:
    """For tests with many examples, which share their fixtures."""
    with TemporaryDirectory() as folder:
        database = open_sqlite(folder)
        yield Store(database=database)
        database.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def wait_until_idle(store: Store) -> None:
    """All that is on disk is finished."""
    wait_for(lambda: len(store.unfinished()) == 0)


def allow(database: Database, *, pages: int) -> None:
    """How large the file may grow; SQLite then says that the disk is full."""
    limit = f"PRAGMA max_page_count={pages}"
    event.listen(database.engine, "connect", lambda connection, _: connection.execute(limit))
    database.close()


def states(file: Path) -> dict[str, str]:
    with closing(sqlite3.connect(file)) as connection:
        return dict(connection.execute("SELECT message_sid, state FROM turns"))


def left(store: Store, *started: Inbound, attempts: int, answer: Answer | None = None) -> None:
    """Leave turns behind as a process does that dies in them."""
    for received in started:
        turn = store.admit(received)
        assert turn
        for _ in range(attempts):
            turn = store.begin(turn)
        if answer:
            store.save_answer(turn, answer)


# Accepting


def test_messages_of_a_sender_run_in_order(inbox: Inbox, turns: Turns, store: Store) -> None:
    sids = [f"SM{number}" for number in range(50)]
    for sid in sids:
        assert inbox.accept(message("ana", sid)) is Acceptance.NEW
    wait_until_idle(store)
    assert turns.done["ana"] == sids
    assert turns.at_once == 1


def test_a_sender_does_not_wait_for_another(inbox: Inbox, turns: Turns, store: Store) -> None:
    """Even if more messages wait behind the slow one than there are threads."""
    let_go = turns.hold("slow")
    inbox.accept(message("ana", "slow"))
    for number in range(20):
        inbox.accept(message("ana", f"behind{number}"))
    inbox.accept(message("ben", "quick"))
    assert turns.started["quick"].wait(PATIENCE)
    assert turns.done["ana"] == []
    let_go.set()
    wait_until_idle(store)
    assert len(turns.done["ana"]) == 21


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=25))
@settings(max_examples=25, deadline=None)
def test_with_one_thread_the_senders_take_turns(senders: list[str]) -> None:
    """A sender's next turn goes to the back of the queue, so that no flood starves others."""
    turns, expected = Turns(), []
    let_go = turns.hold("first")
    with temporary_store() as store, ThreadPoolExecutor(1) as pool:
        inbox = inbox_on(store, turns, pool)
        inbox.accept(message("zoe", "first"))
        waiting: dict[str, list[str]] = {}
        for number, sender in enumerate(senders):
            waiting.setdefault(sender, []).append(f"SM{number}")
            inbox.accept(message(sender, f"SM{number}"))
        let_go.set()
        wait_until_idle(store)
    for round_ in itertools.zip_longest(*waiting.values()):
        expected += [sid for sid in round_ if sid]
    assert turns.order == ["first", *expected]


def test_a_duplicate_is_not_run_while_waiting_running_or_done(
    inbox: Inbox, turns: Turns, store: Store
) -> None:
    let_go = turns.hold("SM1")
    assert inbox.accept(message("ana", "SM1")) is Acceptance.NEW
    assert inbox.accept(message("ana", "SM2")) is Acceptance.NEW
    assert inbox.accept(message("ana", "SM1")) is Acceptance.DUPLICATE
    assert inbox.accept(message("ben", "SM2")) is Acceptance.DUPLICATE
    let_go.set()
    wait_until_idle(store)
    assert inbox.accept(message("ana", "SM1")) is Acceptance.DUPLICATE
    assert inbox.close(PATIENCE)
    assert turns.done == {"ana": ["SM1", "SM2"]}


def test_of_simultaneous_duplicates_one_is_new(inbox: Inbox, turns: Turns, store: Store) -> None:
    together = threading.Barrier(20)

    def accept(_: int) -> Acceptance:
        together.wait(PATIENCE)
        return inbox.accept(message("ana", "SM1"))

    with ThreadPoolExecutor(20) as callers:
        results = list(callers.map(accept, range(20)))
    assert results.count(Acceptance.NEW) == 1
    assert results.count(Acceptance.DUPLICATE) == 19
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1"]}


def test_what_was_refused_for_lack_of_room_may_come_again(
    make_inbox: MakeInbox, turns: Turns, store: Store
) -> None:
    """Who was accepted is not told to come back, even then."""
    inbox = make_inbox(limit=2)
    let_go = turns.hold("SM1")
    assert inbox.accept(message("ana", "SM1")) is Acceptance.NEW
    assert inbox.accept(message("ana", "SM2")) is Acceptance.NEW
    assert inbox.accept(message("ben", "SM3")) is Acceptance.FULL
    assert inbox.accept(message("ana", "SM1")) is Acceptance.DUPLICATE
    assert inbox.accept(message("ana", "SM2")) is Acceptance.DUPLICATE
    last = turns.hold("SM2")
    let_go.set()
    assert turns.started["SM2"].wait(PATIENCE)
    assert inbox.accept(message("ben", "SM3")) is Acceptance.NEW
    last.set()
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1", "SM2"], "ben": ["SM3"]}


def test_the_limit_holds_for_many_at_once(make_inbox: MakeInbox, turns: Turns) -> None:
    inbox = make_inbox(limit=3)
    let_go = threading.Event()
    turns.held = {f"SM{number}": let_go for number in range(40)}
    with ThreadPoolExecutor(20) as callers:
        taken = list(callers.map(lambda n: inbox.accept(message(f"s{n}", f"SM{n}")), range(40)))
    let_go.set()
    assert taken.count(Acceptance.NEW) == 3
    assert taken.count(Acceptance.FULL) == 37
    assert inbox.close(PATIENCE)


def test_a_turn_that_raises_does_not_stop_the_sender(
    inbox: Inbox, turns: Turns, store: Store
) -> None:
    """Its sender hears of it, whatever it was that went wrong."""
    turns.failing = {"SM1", "SM2"}
    last = turns.hold("SM3")
    for sid in ("SM1", "SM2", "SM3"):
        inbox.accept(message("ana", sid))
    assert turns.started["SM3"].wait(PATIENCE)
    last.set()
    assert inbox.close(PATIENCE)
    assert turns.done["ana"] == ["SM1", "SM2", "SM3"]
    assert store.unfinished() == []
    assert turns.apologies == ["SM1", "SM2"]


def test_a_full_disk_refuses_the_message_and_nothing_else(
    tmp_path: Path, turns: Turns, pool: ThreadPoolExecutor
) -> None:
    """Its sender is asked to come back; the message may come again."""
    database = open_sqlite(str(tmp_path))
    store = Store(database=database)
    inbox = inbox_on(store, turns, pool, limit=1)
    allow(database, pages=1)
    for sid in ("SM1", "SM2"):
        large = Inbound(sid=sid, sender="ana", kind=Kind.TEXT, text="x" * 100_000)
        assert inbox.accept(large) is Acceptance.FULL
    assert inbox.close(0)
    allow(database, pages=100_000)
    inbox = inbox_on(store, turns, pool, limit=1)
    assert inbox.accept(message("ana", "SM1")) is Acceptance.NEW
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1"]}


def test_a_turn_that_the_database_fails_is_tried_again_before_the_next(
    inbox: Inbox, turns: Turns, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds up its own sender, so that the order is kept, and nobody else."""
    monkeypatch.setattr("runner.RETRY_SECONDS", 0.01)
    begin, mended = store.begin, threading.Event()

    def refuse(turn: Turn) -> Turn:
        if turn.message.sid == "SM1" and not mended.is_set():
            raise OperationalError("UPDATE", {}, sqlite3.OperationalError("disk I/O error"))
        return begin(turn)

    monkeypatch.setattr(store, "begin", refuse)
    for sender, sid in (("ana", "SM1"), ("ana", "SM2"), ("ben", "SM3")):
        inbox.accept(message(sender, sid))
    assert turns.started["SM3"].wait(PATIENCE)
    mended.set()
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1", "SM2"], "ben": ["SM3"]}


def test_a_turn_that_the_database_fails_is_left_when_the_inbox_closes(
    inbox: Inbox, turns: Turns, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def refuse(turn: Turn) -> None:
        failed.set()
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("disk I/O error"))

    monkeypatch.setattr(store, "begin", refuse)
    inbox.accept(message("ana", "SM1"))
    assert failed.wait(PATIENCE)
    assert inbox.close(PATIENCE)
    assert not turns.done
    assert [turn.message.sid for turn in store.unfinished()] == ["SM1"]


# Closing


def test_a_closed_inbox_finishes_what_runs_and_leaves_the_rest(
    inbox: Inbox, make_inbox: MakeInbox, turns: Turns, store: Store
) -> None:
    """What comes meanwhile is written down too, and the next process runs all in order."""
    let_go = turns.hold("SM1")
    inbox.accept(message("ana", "SM1"))
    inbox.accept(message("ana", "SM2"))
    assert turns.started["SM1"].wait(PATIENCE)
    assert not inbox.close(0.01)
    assert inbox.accept(message("ana", "SM3")) is Acceptance.NEW
    assert inbox.accept(message("ben", "SM4")) is Acceptance.NEW
    assert inbox.accept(message("ben", "SM4")) is Acceptance.DUPLICATE
    let_go.set()
    assert inbox.close(PATIENCE)
    assert inbox.accept(message("ana", "SM5")) is Acceptance.NEW
    assert turns.order == ["SM1"]
    assert [turn.attempts for turn in store.unfinished()] == [0, 0, 0, 0]
    inbox = make_inbox()
    assert inbox.recover() == 4
    assert inbox.accept(message("ana", "SM6")) is Acceptance.NEW
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1", "SM2", "SM3", "SM5", "SM6"], "ben": ["SM4"]}


def test_a_turn_that_waits_for_a_thread_is_not_begun_after_closing(
    make_inbox: MakeInbox, turns: Turns, store: Store
) -> None:
    with ThreadPoolExecutor(1) as pool:
        inbox = make_inbox(pool=pool)
        let_go = turns.hold("SM1")
        inbox.accept(message("ana", "SM1"))
        inbox.accept(message("ben", "SM2"))
        assert turns.started["SM1"].wait(PATIENCE)
        assert not inbox.close(0.01)
        let_go.set()
        assert inbox.close(PATIENCE)
    assert turns.order == ["SM1"]
    assert [(turn.message.sid, turn.attempts) for turn in store.unfinished()] == [("SM2", 0)]


def test_an_empty_inbox_closes_at_once(inbox: Inbox) -> None:
    assert inbox.close(0)


def test_accepting_may_race_with_closing(make_inbox: MakeInbox, turns: Turns, store: Store) -> None:
    """Every message is run either by this process or by the next one."""
    inbox = make_inbox(limit=10_000)

    def accept(number: int) -> Acceptance:
        return inbox.accept(message(f"s{number % 7}", f"SM{number:03}"))

    with ThreadPoolExecutor(8) as callers:
        taken = callers.map(accept, range(300))
        while len(turns.order) < 30:
            time.sleep(0)
        assert inbox.close(PATIENCE)
        ran = len(turns.order)
    assert set(taken) == {Acceptance.NEW}
    assert len(turns.order) == ran < 300
    inbox = make_inbox(limit=10_000)
    assert inbox.recover() == 300 - ran
    wait_until_idle(store)
    assert sorted(turns.order) == [f"SM{number:03}" for number in range(300)]


# Recovering


def test_what_a_process_left_runs_before_what_comes(
    make_inbox: MakeInbox, turns: Turns, store: Store
) -> None:
    left(store, message("ana", "SM1"), message("ben", "SM2"), attempts=1)
    left(store, message("ana", "SM3"), attempts=0)
    inbox = make_inbox()
    let_go = turns.hold("SM1")
    assert inbox.recover() == 3
    assert inbox.accept(message("ana", "SM1")) is Acceptance.DUPLICATE
    assert inbox.accept(message("ana", "SM4")) is Acceptance.NEW
    let_go.set()
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM1", "SM3", "SM4"], "ben": ["SM2"]}
    assert make_inbox().recover() == 0


def test_an_answer_that_was_kept_is_not_asked_for_again(
    make_inbox: MakeInbox, turns: Turns, store: Store
) -> None:
    """However late it is: parts of it may have arrived."""
    answer = Answer("Hello", "en", aloud="Hello", waited=1.5)
    left(store, message("ana", "SM1", age=STALE_SECONDS * 2), attempts=1, answer=answer)
    make_inbox().recover()
    wait_until_idle(store)
    assert [turn.answer for turn in turns.turns] == [answer]


@pytest.mark.parametrize("attempts", range(ATTEMPTS))
def test_whoever_waited_too_long_is_asked_to_write_again(
    make_inbox: MakeInbox, turns: Turns, store: Store, attempts: int
) -> None:
    store.remember_language("ben", "ar")
    left(store, message("ana", "SM1", age=STALE_SECONDS - 60), attempts=attempts)
    left(store, message("ben", "SM2", age=STALE_SECONDS + 1), attempts=attempts)
    make_inbox().recover()
    wait_until_idle(store)
    told = {turn.message.sid: turn.answer for turn in turns.turns}
    assert told == {"SM1": None, "SM2": Answer(PHRASES.say("resend", "ar"), "ar")}


def test_a_turn_that_killed_the_process_too_often_is_replaced_by_a_word(
    make_inbox: MakeInbox, turns: Turns, store: Store
) -> None:
    store.remember_language("ben", "ar")
    left(store, message("ana", "SM1"), attempts=ATTEMPTS - 1)
    left(store, message("ben", "SM2"), attempts=ATTEMPTS)
    make_inbox().recover()
    wait_until_idle(store)
    told = {turn.message.sid: turn.answer for turn in turns.turns}
    assert told == {"SM1": None, "SM2": Answer(PHRASES.say("failed", "ar"), "ar")}


def test_an_answer_that_killed_the_process_too_often_is_sent_without_its_voice(
    make_inbox: MakeInbox, turns: Turns, store: Store
) -> None:
    """Where its text was sent, the sender must not read that something went wrong."""
    answer = Answer("Hello", "en", aloud="Hello", waited=1.5)
    left(store, message("ana", "SM1"), attempts=ATTEMPTS, answer=answer)
    turns.sent.add("SM1")
    make_inbox().recover()
    wait_until_idle(store)
    assert [turn.answer for turn in turns.turns] == [Answer("Hello", "en", waited=1.5)]


def test_an_answer_of_which_nothing_could_be_sent_is_replaced_by_a_word(
    make_inbox: MakeInbox, turns: Turns, store: Store
) -> None:
    """Sending it may be what kills."""
    left(store, message("ana", "SM1"), attempts=ATTEMPTS, answer=Answer("Hello", "en", "Hello"))
    make_inbox().recover()
    wait_until_idle(store)
    assert [turn.answer for turn in turns.turns] == [Answer(PHRASES.say("failed", None), None)]


def test_a_turn_that_kills_even_then_is_set_aside(
    make_inbox: MakeInbox, turns: Turns, store: Store, tmp_path: Path
) -> None:
    """Its sender's next message is answered."""
    answer = Answer(PHRASES.say("failed", None), None)
    left(store, message("ana", "SM1"), attempts=ATTEMPTS + 1, answer=answer)
    left(store, message("ana", "SM2"), attempts=0)
    make_inbox().recover()
    wait_until_idle(store)
    assert turns.order == ["SM2"]
    assert states(tmp_path / FILE_NAME) == {"SM1": "set aside", "SM2": "done"}
    assert make_inbox().recover() == 0


# Histories


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 60), st.booleans()), max_size=80),
    st.integers(1, 6),
    st.integers(5, 100),
)
@settings(max_examples=40, deadline=None)
def test_any_history_keeps_the_promises(
    history: list[tuple[str, int, bool]], threads: int, limit: int
) -> None:
    """Accepted once means run once, in the sender's order, never two at a time."""
    turns = Turns()
    expected: defaultdict[str, list[str]] = defaultdict(list)
    with temporary_store() as store, ThreadPoolExecutor(threads) as pool:
        inbox = inbox_on(store, turns, pool, limit=limit)
        seen: set[str] = set()
        for sender, number, fails in history:
            sid = f"SM{number}"
            if fails:
                turns.failing.add(sid)
            acceptance = inbox.accept(message(sender, sid))
            if acceptance is Acceptance.NEW:
                expected[sender].append(sid)
            assert (acceptance is Acceptance.DUPLICATE) == (sid in seen)
            if acceptance is not Acceptance.FULL:
                seen.add(sid)
        wait_for(lambda: len(turns.order) == len(seen))
        assert inbox.close(PATIENCE)
    assert turns.done == expected
    assert turns.at_once <= 1


def test_many_threads_hand_in_at_once(make_inbox: MakeInbox, turns: Turns, store: Store) -> None:
    inbox = make_inbox(limit=10_000)
    senders = [f"sender{number}" for number in range(8)]

    def hand_in(sender: str) -> None:
        for number in range(100):
            inbox.accept(message(sender, f"{sender}-{number}"))

    with ThreadPoolExecutor(8) as callers:
        list(callers.map(hand_in, senders))
    wait_until_idle(store)
    for sender, done in turns.done.items():
        assert done == [f"{sender}-{number}" for number in range(100)]
    assert len(list(itertools.chain(*turns.done.values()))) == 800


def test_a_message_does_not_overtake_one_that_was_just_written_down(
    inbox: Inbox, turns: Turns, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit, second = store.admit, message("ana", "SM2")

    def admit_slowly(arrived: Inbound) -> Turn | None:
        turn = admit(arrived)
        if arrived is not second:
            # It has the chance to, and must not be able to take it.
            wait([callers.submit(inbox.accept, second)], timeout=0.2)
        return turn

    monkeypatch.setattr(store, "admit", admit_slowly)
    with ThreadPoolExecutor(1) as callers:
        inbox.accept(message("ana", "SM1"))
    wait_until_idle(store)
    assert turns.done["ana"] == ["SM1", "SM2"]


def test_of_several_stale_messages_one_is_asked_for_again(
    make_inbox: MakeInbox, turns: Turns, store: Store
) -> None:
    for sid in ("SM1", "SM2"):
        left(store, message("ana", sid, age=STALE_SECONDS + 1), attempts=0)
    assert make_inbox().recover() == 2
    wait_until_idle(store)
    assert turns.done == {"ana": ["SM2"]}


def test_a_turn_that_a_stop_cuts_off_has_not_killed_the_process(
    inbox: Inbox, turns: Turns, store: Store
) -> None:
    let_go = turns.hold("SM1")
    inbox.accept(message("ana", "SM1"))
    assert turns.started["SM1"].wait(PATIENCE)
    assert not inbox.close(0)
    assert [turn.attempts for turn in store.unfinished()] == [0]
    let_go.set()
