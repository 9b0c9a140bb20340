"""The table of turns, in both kinds of database."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from core.errors import TurnSuperseded
from core.models import Answer, Backlog, Inbound, Kind, Outcome, Turn
from storage.database import Database
from storage.engine import FILE_NAME, open_sqlite
from storage.schema import turns
from storage.turn_queue import TurnQueue
from storage.turns import ABANDONED, DONE, SID_SECONDS, TurnTable
from tests.unit.claiming import begin
from tests.unit.conftest import START, Clock


@pytest.fixture
def reopen(database: Database) -> Callable[[], TurnTable]:
    """Builds the table of the next process on the same database."""

    def another() -> TurnTable:
        database.close()
        return TurnTable(database=database)

    return another


@pytest.fixture
def table(clock: Clock, reopen: Callable[[], TurnTable]) -> TurnTable:
    return reopen()


def message(sid: str, sender: str = "ana", received_at: float = START) -> Inbound:
    return Inbound(sid=sid, sender=sender, kind=Kind.TEXT, text=sid, received_at=received_at)


def insert(table: TurnTable, sid: str, sender: str = "ana") -> Turn:
    turn = table.insert(message(sid, sender))
    assert turn
    return turn


def test_a_message_is_admitted_once(table: TurnTable, reopen: Callable[[], TurnTable]) -> None:
    assert not table.contains("SM1")
    assert table.insert(message("SM1"))
    assert table.insert(message("SM1")) is None
    assert table.insert(message("SM1", "ben")) is None
    assert table.insert(message("SM2"))
    assert reopen().insert(message("SM1")) is None
    assert table.contains("SM1")


def test_one_of_many_threads_gets_the_message(table: TurnTable) -> None:
    with ThreadPoolExecutor(16) as pool:
        turns = list(pool.map(table.insert, [message("SM1")] * 200))
    assert sum(turn is not None for turn in turns) == 1


@pytest.mark.parametrize("kind", Kind)
def test_the_next_process_finds_a_message_as_it_was(
    table: TurnTable, database: Database, kind: Kind
) -> None:
    received = Inbound(
        sid="a-Z_9",
        sender="whatsapp:CC.ÄöÜ 'x'; --",
        kind=kind,
        text="مرحبا 👋🏽\nsecond line",
        media_url="https://api.twilio.com/x?y=%20",
        received_at=START + 0.123456,
    )
    turn = table.insert(received)
    assert turn
    database.close()
    claimed = begin(database, turn)
    assert claimed == Turn(turn.id, received, attempts=1, claim=claimed.claim)


def test_a_start_is_counted_and_an_answer_stored(table: TurnTable, database: Database) -> None:
    turn = begin(database, insert(table, "SM1"))
    answer = Answer("**Hallo** 👋", None, aloud="Hallo", waited=1.25)
    table.save_answer(turn, answer)
    database.close()
    again = begin(database, turn)
    assert again == replace(turn, answer=answer, attempts=2, claim=again.claim)


@pytest.mark.parametrize("outcome", Outcome)
def test_the_outcome_of_an_answer_is_not_part_of_it(
    table: TurnTable, database: Database, outcome: Outcome
) -> None:
    """Workers of the former release may take such a turn over, and know no outcomes."""
    turn = begin(database, insert(table, "SM1"))
    table.save_answer(turn, Answer("Hallo", "de", outcome=outcome))
    assert begin(database, turn).answer == Answer("Hallo", "de", outcome=outcome)
    stored = database.value(select(turns.c.answer))
    assert stored.keys() == {"text", "language", "aloud", "waited"}


def test_an_answer_of_the_former_release_counts_as_one_of_the_agent(
    table: TurnTable, database: Database
) -> None:
    turn = begin(database, insert(table, "SM1"))
    saved = {"text": "Hallo", "language": "de", "aloud": "", "waited": 1.5}
    database.change(update(turns).values(answer=saved))
    assert begin(database, turn).answer == Answer("Hallo", "de", waited=1.5)


def test_no_more_unfinished_turns_than_the_limit_are_admitted(
    table: TurnTable, database: Database
) -> None:
    first = table.insert(message("SM1"), limit=2)
    assert first
    assert table.insert(message("SM2"), limit=2)
    assert table.insert(message("SM3"), limit=2) is None
    assert table.count_unfinished(limit=5) == 2
    table.finish(begin(database, first))
    assert table.insert(message("SM3"), limit=2)


def test_a_process_that_lost_a_turn_cannot_change_it(table: TurnTable, database: Database) -> None:
    """A process that was taken for dead comes back after another one began its turn."""
    ours = begin(database, insert(table, "SM1"))
    theirs = begin(database, ours)
    writing: list[Callable[[], object]] = [
        lambda: table.save_answer(ours, Answer("late", None)),
        lambda: table.finish(ours),
    ]
    for write in writing:
        with pytest.raises(TurnSuperseded):
            write()
    table.save_answer(theirs, Answer("in time", None))
    table.finish(theirs)


def test_the_backlog_counts_turns_and_names_the_oldest_waiting_one(
    table: TurnTable, database: Database, reopen: Callable[[], TurnTable]
) -> None:
    assert table.backlog() == Backlog(0, 0, None)
    first, second, _ = (
        table.insert(message(f"SM{number}", f"sender{number}", received_at=START + number))
        for number in range(3)
    )
    assert first and second
    assert table.backlog() == reopen().backlog() == Backlog(3, 0, START)
    first, second = TurnQueue(database=database, single_process=True).claim(2)
    assert table.backlog() == Backlog(1, 2, START + 2)
    table.finish(first)
    table.finish(second, ABANDONED)
    assert table.backlog() == Backlog(1, 0, START + 2)


@pytest.mark.parametrize("state", [DONE, ABANDONED])
def test_a_finished_turn_is_not_claimed(table: TurnTable, database: Database, state: str) -> None:
    first, second = insert(table, "SM1"), insert(table, "SM2")
    first = begin(database, first)
    table.finish(first, state)
    assert [turn.id for turn in TurnQueue(database=database, single_process=True).claim(5)] == [
        second.id
    ]
    assert table.count_unfinished(limit=5) == 1
    assert table.insert(message("SM1")) is None


def test_old_finished_turns_are_purged(table: TurnTable, database: Database) -> None:
    """Unfinished and recent turns stay; of the others only the SIDs do."""
    done, quarantined, _ = (insert(table, sid) for sid in ("SM1", "SM2", "SM3"))
    young = table.insert(message("SM4", received_at=START + 10))
    assert young
    table.finish(done)
    table.finish(quarantined, ABANDONED)
    table.finish(young)
    assert table.purge(before=START) == 0
    assert table.purge(before=START + 1) == 2
    assert table.purge(before=START + 1) == 0
    assert all(table.contains(f"SM{number}") for number in (1, 2, 3, 4))
    known = database.rows(select(turns.c.message_sid, turns.c.sender, turns.c.text))
    assert {(row.sender, row.text) for row in known if row.message_sid in ("SM1", "SM2")} == {
        ("", "")
    }
    assert {row.text for row in known} == {"", "SM3", "SM4"}


def test_a_sid_is_stored_far_longer_than_the_text(table: TurnTable) -> None:
    """Anybody who has a signed webhook can post it again at any time."""
    table.finish(insert(table, "SM1"))
    table.purge(before=START + 1)
    table.purge(before=START + SID_SECONDS)
    assert table.insert(message("SM1", received_at=START + SID_SECONDS)) is None
    table.purge(before=START + SID_SECONDS + 1)
    assert table.insert(message("SM1", received_at=START + SID_SECONDS + 1))


def test_many_threads_write_and_read_at_once(table: TurnTable) -> None:
    """All threads share one connection without deadlocks or mixed-up results."""

    def work(number: int) -> bool:
        turn = insert(table, f"SM{number}", f"sender{number % 5}")
        table.finish(turn)
        return table.contains(f"SM{number}")

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(work, range(200)))
    assert table.count_unfinished(limit=1) == 0


def test_a_locked_file_raises_and_stores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.engine.BUSY_SECONDS", 0.05)
    table = TurnTable(database=open_sqlite(str(tmp_path)))
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(OperationalError, match="locked"):
        table.insert(message("SM1"))
    assert time.monotonic() - began < 5
    assert not table.contains("SM1")
    other.execute("ROLLBACK")
    other.close()
    assert table.insert(message("SM1"))
