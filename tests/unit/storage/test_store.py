"""Turns, sessions and preferences in both kinds of database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from core.errors import TurnSuperseded
from core.models import AgentSession, Answer, Backlog, Inbound, Kind, Preferences, Turn
from storage.database import Database
from storage.engine import FILE_NAME, open_sqlite
from storage.schema import turns
from storage.store import DONE, EMPTY, PRIVATE, PUBLIC, QUARANTINED, SID_SECONDS, Store
from storage.turn_queue import TurnQueue
from tests.unit.claiming import begin
from tests.unit.conftest import START, Clock


@pytest.fixture
def reopen(database: Database) -> Callable[[], Store]:
    """Builds the store of the next process on the same database."""

    def another() -> Store:
        database.close()
        return Store(database=database)

    return another


@pytest.fixture
def store(clock: Clock, reopen: Callable[[], Store]) -> Store:
    return reopen()


def message(sid: str, sender: str = "ana", received_at: float = START) -> Inbound:
    return Inbound(sid=sid, sender=sender, kind=Kind.TEXT, text=sid, received_at=received_at)


def admit(store: Store, sid: str, sender: str = "ana") -> Turn:
    turn = store.admit(message(sid, sender))
    assert turn
    return turn


def test_a_message_is_admitted_once(store: Store, reopen: Callable[[], Store]) -> None:
    assert not store.knows("SM1")
    assert store.admit(message("SM1"))
    assert store.admit(message("SM1")) is None
    assert store.admit(message("SM1", "ben")) is None
    assert store.admit(message("SM2"))
    assert reopen().admit(message("SM1")) is None
    assert store.knows("SM1")


def test_one_of_many_threads_gets_the_message(store: Store) -> None:
    with ThreadPoolExecutor(16) as pool:
        turns = list(pool.map(store.admit, [message("SM1")] * 200))
    assert sum(turn is not None for turn in turns) == 1


@pytest.mark.parametrize("kind", Kind)
def test_the_next_process_finds_a_message_as_it_was(
    store: Store, database: Database, kind: Kind
) -> None:
    received = Inbound(
        sid="a-Z_9",
        sender="whatsapp:CC.ÄöÜ 'x'; --",
        kind=kind,
        text="مرحبا 👋🏽\nsecond line",
        media_url="https://api.twilio.com/x?y=%20",
        received_at=START + 0.123456,
    )
    turn = store.admit(received)
    assert turn
    database.close()
    claimed = begin(database, turn)
    assert claimed == Turn(turn.id, received, attempts=1, claim=claimed.claim)


def test_a_start_is_counted_and_an_answer_stored(store: Store, database: Database) -> None:
    turn = begin(database, admit(store, "SM1"))
    answer = Answer("**Hallo** 👋", None, aloud="Hallo", waited=1.25)
    store.save_answer(turn, answer)
    database.close()
    again = begin(database, turn)
    assert again == replace(turn, answer=answer, attempts=2, claim=again.claim)


def test_no_more_unfinished_turns_than_the_limit_are_admitted(
    store: Store, database: Database
) -> None:
    first = store.admit(message("SM1"), limit=2)
    assert first
    assert store.admit(message("SM2"), limit=2)
    assert store.admit(message("SM3"), limit=2) is None
    assert store.count_unfinished(limit=5) == 2
    store.finish(begin(database, first))
    assert store.admit(message("SM3"), limit=2)


def test_a_process_that_lost_a_turn_cannot_change_it(store: Store, database: Database) -> None:
    """A process that was taken for dead comes back after another one began its turn."""
    ours = begin(database, admit(store, "SM1"))
    theirs = begin(database, ours)
    writing: list[Callable[[], object]] = [
        lambda: store.save_answer(ours, Answer("late", None)),
        lambda: store.finish(ours),
    ]
    for write in writing:
        with pytest.raises(TurnSuperseded):
            write()
    store.save_answer(theirs, Answer("in time", None))
    store.finish(theirs)


def test_the_backlog_counts_turns_and_names_the_oldest_waiting_one(
    store: Store, database: Database, reopen: Callable[[], Store]
) -> None:
    assert store.backlog() == Backlog(0, 0, None)
    first, second, _ = (
        store.admit(message(f"SM{number}", f"sender{number}", received_at=START + number))
        for number in range(3)
    )
    assert first and second
    assert store.backlog() == reopen().backlog() == Backlog(3, 0, START)
    first, second = TurnQueue(database=database, single_process=True).claim(2)
    assert store.backlog() == Backlog(1, 2, START + 2)
    store.finish(first)
    store.finish(second, QUARANTINED)
    assert store.backlog() == Backlog(1, 0, START + 2)


@pytest.mark.parametrize("state", [DONE, QUARANTINED])
def test_a_finished_turn_is_not_claimed(store: Store, database: Database, state: str) -> None:
    first, second = admit(store, "SM1"), admit(store, "SM2")
    first = begin(database, first)
    store.finish(first, state)
    assert [turn.id for turn in TurnQueue(database=database, single_process=True).claim(5)] == [
        second.id
    ]
    assert store.count_unfinished(limit=5) == 1
    assert store.admit(message("SM1")) is None


def test_a_session_is_stored_until_it_is_dropped_and_never_overwritten(
    store: Store, reopen: Callable[[], Store]
) -> None:
    first, second = AgentSession("a", 1.5), AgentSession("b", 2.5)
    assert store.session("ana") is None
    store.save_session("ana", first)
    store.save_session("ben", second)
    store = reopen()
    assert (store.session("ana"), store.session("ben")) == (first, second)
    assert not store.save_session("ana", second)
    assert store.session("ana") == first
    assert store.drop_session("ana") == first
    assert store.save_session("ana", second)
    assert store.drop_session("ana") == second
    assert store.session("ana") is store.drop_session("ana") is None
    assert store.session("ben") == second


def test_a_private_session_never_becomes_public(
    database: Database, clock: Clock, reopen: Callable[[], Store]
) -> None:
    store = Store(database=database, keeps_privacy=True)
    store.note_asked("ana", PUBLIC)
    store.save_session("ana", AgentSession("a", 1))
    store.save_session("ben", AgentSession("b", 1))
    seen = [store.asked("ana")]
    for what in (PUBLIC, PRIVATE, PUBLIC):
        store.note_asked("ana", what)
        seen.append(reopen().asked("ana"))
    assert seen == [EMPTY, PUBLIC, PRIVATE, PRIVATE]
    assert store.asked("ben") == EMPTY


def test_a_session_is_dropped_by_one_of_many_threads(store: Store) -> None:
    store.save_session("ana", AgentSession("a", 1))
    with ThreadPoolExecutor(8) as pool:
        dropped = list(pool.map(store.drop_session, ["ana"] * 40))
    assert sum(session is not None for session in dropped) == 1


def test_idle_sessions_are_those_unused_since_the_given_time(store: Store) -> None:
    for sender, used_at in (("ana", 1.0), ("ben", 2.0), ("cleo", 3.0)):
        store.save_session(sender, AgentSession(sender, used_at))
    assert store.idle_sessions(2.5) == ["ana", "ben"]
    assert store.idle_sessions(1.0) == []


def test_each_preference_is_stored_without_changing_the_other(
    store: Store, reopen: Callable[[], Store]
) -> None:
    assert store.preferences("ana") == Preferences(voice=None, language=None)
    store.prefer_voice("ana", False)
    store.remember_language("ana", "ar")
    assert store.preferences("ana") == Preferences(voice=False, language="ar", used_at=START)
    store.prefer_voice("ana", True)
    assert reopen().preferences("ana") == Preferences(True, "ar", START)
    assert store.preferences("ben") == Preferences()


def test_old_finished_turns_are_purged(store: Store, database: Database) -> None:
    """Unfinished and recent turns stay; of the others only the SIDs do."""
    done, quarantined, _ = (admit(store, sid) for sid in ("SM1", "SM2", "SM3"))
    young = store.admit(message("SM4", received_at=START + 10))
    assert young
    store.finish(done)
    store.finish(quarantined, QUARANTINED)
    store.finish(young)
    assert store.purge(before=START) == 0
    assert store.purge(before=START + 1) == 2
    assert store.purge(before=START + 1) == 0
    assert all(store.knows(f"SM{number}") for number in (1, 2, 3, 4))
    known = database.rows(select(turns.c.message_sid, turns.c.sender, turns.c.text))
    assert {(row.sender, row.text) for row in known if row.message_sid in ("SM1", "SM2")} == {
        ("", "")
    }
    assert {row.text for row in known} == {"", "SM3", "SM4"}


def test_a_sid_is_stored_far_longer_than_the_text(store: Store) -> None:
    """Anybody who has a signed webhook can post it again at any time."""
    store.finish(admit(store, "SM1"))
    store.purge(before=START + 1)
    store.purge(before=START + SID_SECONDS)
    assert store.admit(message("SM1", received_at=START + SID_SECONDS)) is None
    store.purge(before=START + SID_SECONDS + 1)
    assert store.admit(message("SM1", received_at=START + SID_SECONDS + 1))


def test_purging_deletes_unused_preferences(store: Store, clock: Clock) -> None:
    store.prefer_voice("ana", True)
    clock.now += 3601
    store.remember_language("ben", "en")
    store.save_session("ana", AgentSession("a", START))
    store.purge(before=clock.now - 1)
    assert store.preferences("ana") == Preferences()
    assert store.preferences("ben").language == "en"
    # Sessions are not purged: they have to be ended at Agentforce.
    assert store.session("ana")


def test_many_threads_write_and_read_at_once(store: Store) -> None:
    """All threads share one connection without deadlocks or mixed-up results."""

    def work(number: int) -> bool:
        turn = admit(store, f"SM{number}", f"sender{number % 5}")
        store.save_session(f"sender{number}", AgentSession(f"s{number}", number))
        store.finish(turn)
        return store.session(f"sender{number}") == AgentSession(f"s{number}", number)

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(work, range(200)))
    assert store.count_unfinished(limit=1) == 0


def test_a_locked_file_raises_and_stores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.engine.BUSY_SECONDS", 0.05)
    store = Store(database=open_sqlite(str(tmp_path)))
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(OperationalError, match="locked"):
        store.admit(message("SM1"))
    assert time.monotonic() - began < 5
    assert not store.knows("SM1")
    other.execute("ROLLBACK")
    other.close()
    assert store.admit(message("SM1"))
