"""A sender is a user id, whatever the address; in each kind of database.

The former release knows only addresses. Its rows are read, and its workers may run beside ours.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, text

from core.models import AgentSession, Attachment, Inbound, Kind, Preferences, Turn
from storage.agent_sessions import AgentSessionTable
from storage.database import Database
from storage.preferences import PreferenceTable
from storage.quotas import DAY, Quota, Quotas
from storage.turn_queue import TurnQueue
from storage.turns import TurnTable
from storage.user_ids import UserIds
from tests.unit.conftest import START, Clock, empty
from tests.unit.delivery_process import USER

USER_ID = "whatsapp:US.13491208655302741918"
# The statement of the former release, which has no column for user ids.
INSERT_OF_FORMER_RELEASE = text(
    "INSERT INTO turns"
    " (message_sid, sender, kind, text, media_url, received_at, state, attempts)"
    " VALUES (:sid, :sender, 'text', 'Hi', '', :received_at, 'waiting', 0)"
)


@pytest.fixture
def database(opened: Database, clock: Clock) -> Database:
    return empty(opened)


@pytest.fixture
def table(database: Database) -> TurnTable:
    return TurnTable(database=database)


@pytest.fixture
def queue(database: Database) -> TurnQueue:
    return TurnQueue(database=database, single_process=False)


def message(sid: str, address: str, *, user_id: str = USER_ID, **fields: object) -> Inbound:
    return Inbound(
        sid=sid,
        sender=user_id,
        kind=Kind.TEXT,
        address=address if address != user_id else "",
        received_at=START,
        **fields,  # type: ignore[arg-type]
    )


def insert(table: TurnTable, received: Inbound) -> Turn:
    turn = table.insert(received)
    assert turn
    return turn


def insert_as_former_release(database: Database, sid: str, sender: str = USER) -> None:
    values = {"sid": sid, "sender": sender, "received_at": START}
    database.change(INSERT_OF_FORMER_RELEASE, values)


def claimed(queue: TurnQueue) -> list[str]:
    return [turn.message.sid for turn in queue.claim(10)]


@pytest.mark.parametrize("address", [USER, USER_ID])
def test_a_message_is_read_back_as_it_was(table: TurnTable, queue: TurnQueue, address: str) -> None:
    received = message("SM1", address, attachment=Attachment.UNSEEN)
    insert(table, received)
    (turn,) = queue.claim(1)
    assert turn.message == received
    assert turn.message.reply_address == address


def test_one_turn_of_a_user_runs_at_a_time_whatever_the_address(
    table: TurnTable, queue: TurnQueue
) -> None:
    insert(table, message("SM1", USER))
    insert(table, message("SM2", USER_ID))
    insert(table, message("SM3", USER))
    for sid in ("SM1", "SM2", "SM3"):
        (turn,) = queue.claim(10)
        assert turn.message.sid == sid
        assert table.has_later(turn, before=math.inf) is (sid != "SM3")
        assert queue.claim(10) == []
        table.finish(turn)


def test_two_users_of_one_address_do_not_wait_for_each_other(
    table: TurnTable, queue: TurnQueue
) -> None:
    """A phone number can be given to somebody else."""
    insert(table, message("SM1", USER))
    insert(table, message("SM2", USER, user_id="whatsapp:US.2"))
    assert claimed(queue) == ["SM1", "SM2"]


def test_quotas_count_a_users_messages_from_all_addresses(database: Database) -> None:
    quotas = Quotas(database=database, quotas=[Quota(2, DAY, "limit_day")])
    table = TurnTable(database=database, admission=quotas.admission_condition())
    assert table.insert(message("SM1", USER))
    assert table.insert(message("SM2", USER_ID))
    assert table.insert(message("SM3", USER)) is None
    assert quotas.find_exceeded(message("SM3", USER))
    assert table.insert(message("SM4", "whatsapp:+14155550199", user_id="whatsapp:US.2"))


def test_a_worker_of_the_former_release_answers_to_the_address(
    database: Database, table: TurnTable
) -> None:
    """It takes the column ``sender`` for the address, and knows no newer kinds."""
    insert(table, message("SM1", USER, attachment=Attachment.UNSEEN))
    row = database.row(text("SELECT sender, kind FROM turns"))
    assert row
    assert (row.sender, row.kind) == (USER, "text")


def test_messages_of_the_former_release_are_answered_in_order(
    database: Database, table: TurnTable, queue: TurnQueue
) -> None:
    insert_as_former_release(database, "SM1")
    insert_as_former_release(database, "SM2")
    insert_as_former_release(database, "SM3", "whatsapp:+14155550199")
    UserIds(database=database).move_rows(message("SM4", USER))
    insert(table, message("SM4", USER))
    first, other = queue.claim(10)
    assert (first.message.sid, other.message.sid) == ("SM1", "SM3")
    assert (first.message.sender, first.message.reply_address) == (USER_ID, USER)
    assert other.message.sender == other.message.reply_address == "whatsapp:+14155550199"
    for sid in ("SM2", "SM4"):
        table.finish(first)
        (first,) = queue.claim(10)
        assert first.message.sid == sid


def test_session_and_preferences_of_the_former_release_are_kept(database: Database) -> None:
    sessions = AgentSessionTable(database=database)
    preferences = PreferenceTable(database=database)
    assert sessions.insert(USER, AgentSession("session", START))
    preferences.save_voice(USER, False)
    preferences.save_language("whatsapp:+14155550199", "ar")
    UserIds(database=database).move_rows(message("SM1", USER))
    session = sessions.find(USER_ID)
    assert session
    assert session.id == "session"
    assert preferences.find(USER_ID).voice is False
    assert sessions.find(USER) is None
    assert preferences.find(USER) == Preferences()
    assert preferences.find("whatsapp:+14155550199").language == "ar"


def test_what_is_stored_under_the_user_id_is_kept(database: Database) -> None:
    sessions = AgentSessionTable(database=database)
    assert sessions.insert(USER, AgentSession("older", START))
    assert sessions.insert(USER_ID, AgentSession("newer", START))
    UserIds(database=database).move_rows(message("SM1", USER))
    session = sessions.find(USER_ID)
    assert session
    assert session.id == "newer"


def test_processes_that_move_the_same_rows_do_not_fail(database: Database) -> None:
    preferences = PreferenceTable(database=database)
    for number in range(20):
        preferences.save_voice(f"whatsapp:+{number}", True)

    def move(number: int) -> None:
        received = message("SM1", f"whatsapp:+{number // 4}", user_id=f"whatsapp:US.{number // 4}")
        UserIds(database=database).move_rows(received)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(move, range(80)))
    assert all(preferences.find(f"whatsapp:US.{number}").voice for number in range(20))


def test_rows_are_looked_for_once_for_each_sender(database: Database) -> None:
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    user_ids = UserIds(database=database)
    user_ids.move_rows(message("SM1", USER))
    number = len(statements)
    assert number
    for received in (
        message("SM2", USER),
        message("SM3", USER_ID),
        message("SM4", "ana", user_id="ana"),
    ):
        user_ids.move_rows(received)
    assert len(statements) == number


def test_nothing_of_the_user_is_left_of_an_old_turn(
    database: Database, table: TurnTable, queue: TurnQueue
) -> None:
    insert(table, message("SM1", USER))
    (turn,) = queue.claim(1)
    table.finish(turn)
    assert table.purge(before=START + 1) == 1
    row = database.row(text("SELECT * FROM turns"))
    assert row
    assert not {USER, USER_ID} & set(row)
