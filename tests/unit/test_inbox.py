"""Each sender's messages in order, one at a time, once; on real threads."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbound import Inbound, Kind
from inbox import Acceptance, Inbox
from store import Store

PATIENCE = 10.0


def message(sender: str, sid: str) -> Inbound:
    return Inbound(sid=sid, sender=sender, kind=Kind.TEXT, text=sid)


class Turns:
    """Runs messages and notes what happened; those in ``held`` wait until let go."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.done: defaultdict[str, list[str]] = defaultdict(list)
        self.running: defaultdict[str, int] = defaultdict(int)
        self.order: list[str] = []
        self.at_once = 0
        self.held: dict[str, threading.Event] = {}
        self.started: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self.failing: set[str] = set()

    def hold(self, sid: str) -> threading.Event:
        self.held[sid] = threading.Event()
        return self.held[sid]

    def __call__(self, message: Inbound) -> None:
        with self.lock:
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


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def inbox(turns: Turns, pool: ThreadPoolExecutor) -> Inbox:
    return Inbox(store=Store(note_lifetime=1), run=turns, pool=pool, limit=100)


def test_messages_of_a_sender_run_in_order(inbox: Inbox, turns: Turns) -> None:
    sids = [f"SM{number}" for number in range(50)]
    for sid in sids:
        assert inbox.accept(message("ana", sid)) is Acceptance.NEW
    assert inbox.close(PATIENCE)
    assert turns.done["ana"] == sids
    assert turns.at_once == 1


def test_a_sender_does_not_wait_for_another(inbox: Inbox, turns: Turns) -> None:
    """Even if more messages wait behind the slow one than there are threads."""
    let_go = turns.hold("slow")
    inbox.accept(message("ana", "slow"))
    for number in range(20):
        inbox.accept(message("ana", f"behind{number}"))
    inbox.accept(message("ben", "quick"))
    assert turns.started["quick"].wait(PATIENCE)
    assert turns.done["ana"] == []
    let_go.set()
    assert inbox.close(PATIENCE)
    assert len(turns.done["ana"]) == 21


def test_one_senders_flood_lets_others_in_between(turns: Turns) -> None:
    """With a single thread, a sender's next turn goes to the back of the queue."""
    with ThreadPoolExecutor(1) as pool:
        inbox = Inbox(store=Store(note_lifetime=1), run=turns, pool=pool, limit=100)
        let_go = turns.hold("a0")
        for sid in ("a0", "a1", "a2", "a3"):
            inbox.accept(message("ana", sid))
        assert turns.started["a0"].wait(PATIENCE)
        inbox.accept(message("ben", "b0"))
        let_go.set()
        assert inbox.close(PATIENCE)
    assert turns.order == ["a0", "b0", "a1", "a2", "a3"]


def test_a_duplicate_is_not_run_while_waiting_running_or_done(inbox: Inbox, turns: Turns) -> None:
    let_go = turns.hold("SM1")
    assert inbox.accept(message("ana", "SM1")) is Acceptance.NEW
    assert inbox.accept(message("ana", "SM2")) is Acceptance.NEW
    assert inbox.accept(message("ana", "SM1")) is Acceptance.DUPLICATE
    assert inbox.accept(message("ben", "SM2")) is Acceptance.DUPLICATE
    let_go.set()
    assert inbox.close(PATIENCE)
    assert inbox.accept(message("ana", "SM1")) is Acceptance.DUPLICATE
    assert turns.done == {"ana": ["SM1", "SM2"]}


def test_of_simultaneous_duplicates_one_is_new(turns: Turns, pool: ThreadPoolExecutor) -> None:
    inbox = Inbox(store=Store(note_lifetime=1), run=turns, pool=pool, limit=100)
    together = threading.Barrier(20)

    def accept(_: int) -> Acceptance:
        together.wait(PATIENCE)
        return inbox.accept(message("ana", "SM1"))

    with ThreadPoolExecutor(20) as callers:
        results = list(callers.map(accept, range(20)))
    assert results.count(Acceptance.NEW) == 1
    assert results.count(Acceptance.DUPLICATE) == 19
    assert inbox.close(PATIENCE)
    assert turns.done == {"ana": ["SM1"]}


def test_what_was_refused_for_lack_of_room_may_come_again(
    turns: Turns, pool: ThreadPoolExecutor
) -> None:
    inbox = Inbox(store=Store(note_lifetime=1), run=turns, pool=pool, limit=2)
    let_go = turns.hold("SM1")
    assert inbox.accept(message("ana", "SM1")) is Acceptance.NEW
    assert inbox.accept(message("ana", "SM2")) is Acceptance.NEW
    assert inbox.accept(message("ben", "SM3")) is Acceptance.FULL
    assert inbox.accept(message("ana", "SM1")) is Acceptance.DUPLICATE
    last = turns.hold("SM2")
    let_go.set()
    assert turns.started["SM2"].wait(PATIENCE)
    assert inbox.accept(message("ben", "SM3")) is Acceptance.NEW
    last.set()
    assert inbox.close(PATIENCE)
    assert turns.done == {"ana": ["SM1", "SM2"], "ben": ["SM3"]}


def test_a_turn_that_raises_does_not_stop_the_sender(inbox: Inbox, turns: Turns) -> None:
    turns.failing = {"SM1", "SM2"}
    for sid in ("SM1", "SM2", "SM3"):
        inbox.accept(message("ana", sid))
    assert inbox.close(PATIENCE)
    assert turns.done["ana"] == ["SM1", "SM2", "SM3"]


def test_a_closed_inbox_finishes_what_it_accepted_and_takes_no_more(
    inbox: Inbox, turns: Turns
) -> None:
    let_go = turns.hold("SM1")
    inbox.accept(message("ana", "SM1"))
    inbox.accept(message("ana", "SM2"))
    assert not inbox.close(0.01)
    assert inbox.accept(message("ben", "SM3")) is Acceptance.FULL
    let_go.set()
    assert inbox.close(PATIENCE)
    assert turns.done == {"ana": ["SM1", "SM2"]}


def test_an_empty_inbox_closes_at_once(inbox: Inbox) -> None:
    assert inbox.close(0)


HISTORIES = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(0, 60), st.booleans()), max_size=80
)


@given(HISTORIES, st.integers(1, 6), st.integers(5, 100))
@settings(max_examples=60)
def test_any_history_keeps_the_promises(
    history: list[tuple[str, int, bool]], threads: int, limit: int
) -> None:
    """Accepted once means run once, in the sender's order, never two at a time."""
    turns = Turns()
    expected: defaultdict[str, list[str]] = defaultdict(list)
    with ThreadPoolExecutor(threads) as pool:
        inbox = Inbox(store=Store(note_lifetime=1), run=turns, pool=pool, limit=limit)
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
        assert inbox.close(PATIENCE)
    assert turns.done == expected
    assert turns.at_once <= 1


def test_many_threads_hand_in_at_once(turns: Turns, pool: ThreadPoolExecutor) -> None:
    inbox = Inbox(store=Store(note_lifetime=1), run=turns, pool=pool, limit=10_000)
    senders = [f"sender{number}" for number in range(8)]

    def hand_in(sender: str) -> None:
        for number in range(100):
            inbox.accept(message(sender, f"{sender}-{number}"))

    with ThreadPoolExecutor(8) as callers:
        list(callers.map(hand_in, senders))
    assert inbox.close(PATIENCE)
    for sender, done in turns.done.items():
        assert done == [f"{sender}-{number}" for number in range(100)]
    assert len(list(itertools.chain(*turns.done.values()))) == 800
