"""Records of sent messages and their voice notes, in both kinds of database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select

from core.errors import TurnSuperseded
from core.models import Inbound, Kind, Turn
from storage.database import Database
from storage.outbound_messages import VOICE, OutboundMessage, OutboundMessages
from storage.schema import voice_notes
from storage.turns import TurnTable
from tests.unit.claiming import begin
from tests.unit.conftest import START, Clock

NOTE_LIFETIME = 3600.0


@pytest.fixture
def store(database: Database, clock: Clock) -> TurnTable:
    return TurnTable(database=database)


@pytest.fixture
def reopen(database: Database) -> Callable[[], OutboundMessages]:
    """Builds the object of the next process on the same database."""

    def another() -> OutboundMessages:
        database.close()
        return OutboundMessages(database=database, note_lifetime=NOTE_LIFETIME)

    return another


@pytest.fixture
def outbound_messages(clock: Clock, reopen: Callable[[], OutboundMessages]) -> OutboundMessages:
    return reopen()


def admit(store: TurnTable, sid: str, received_at: float = START) -> Turn:
    message = Inbound(sid=sid, sender="ana", kind=Kind.TEXT, received_at=received_at)
    turn = store.insert(message)
    assert turn
    return turn


def test_a_part_is_recorded_before_and_after_it_is_sent(
    store: TurnTable,
    outbound_messages: OutboundMessages,
    reopen: Callable[[], OutboundMessages],
    clock: Clock,
) -> None:
    turn, other = admit(store, "SM1"), admit(store, "SM2")
    assert outbound_messages.find(turn, "text 1") is None
    begun = outbound_messages.begin(turn, "text 1")
    assert begun.is_new
    begun = replace(begun, is_new=False)
    assert begun == OutboundMessage(START, None, begun.callback)
    clock.now += 5
    outbound_messages = reopen()
    assert (
        outbound_messages.find(turn, "text 1") == outbound_messages.begin(turn, "text 1") == begun
    )
    assert not outbound_messages.has_sid("SM-out")
    outbound_messages.finish(turn, "text 1", "SM-out")
    assert outbound_messages.begin(turn, "text 1") == replace(begun, sid="SM-out")
    second = outbound_messages.begin(turn, "text 2")
    assert second.is_new
    assert second.callback != begun.callback
    outbound_messages.finish(turn, "text 1", "SM-out")
    assert outbound_messages.find(turn, "text 2") == OutboundMessage(
        START + 5, None, second.callback
    )
    assert outbound_messages.find(other, "text 1") is None
    assert outbound_messages.has_sid("SM-out")


def test_a_process_that_lost_a_turn_begins_no_part_of_it(
    store: TurnTable, database: Database, outbound_messages: OutboundMessages
) -> None:
    """Nor does it repeat the parts that it had begun."""
    ours = begin(database, admit(store, "SM1"))
    assert outbound_messages.begin(ours, "text 1").is_new
    theirs = begin(database, ours)
    for part in ("text 1", "text 2"):
        with pytest.raises(TurnSuperseded):
            outbound_messages.begin(ours, part)
    assert not outbound_messages.begin(theirs, "text 1").is_new
    assert outbound_messages.begin(theirs, "text 2").is_new


def test_a_part_that_threads_begin_at_the_same_time_is_new_to_one(
    store: TurnTable, database: Database, outbound_messages: OutboundMessages
) -> None:
    turn = begin(database, admit(store, "SM1"))
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda _: outbound_messages.begin(turn, "text 1"), range(40)))
    assert sum(each.is_new for each in begun) == 1
    assert len({each.callback for each in begun}) == 1


def test_a_voice_note_is_stored_with_its_part(
    store: TurnTable, database: Database, outbound_messages: OutboundMessages, clock: Clock
) -> None:
    """Audio that is synthesised anew replaces the first, whose address stays valid."""
    turn = begin(database, admit(store, "SM1"))
    first = outbound_messages.begin(turn, VOICE, audio=b"first")
    second = outbound_messages.begin(turn, VOICE, audio=b"second")
    assert first.voice_note_token and second.voice_note_token
    assert first == replace(second, voice_note_token=first.voice_note_token, is_new=True)
    assert outbound_messages.find(turn, VOICE) == second
    assert [
        outbound_messages.voice_note(token)
        for token in (first.voice_note_token, second.voice_note_token)
    ] == [
        b"first",
        b"second",
    ]


def test_a_voice_note_is_found_by_its_token_until_it_expires(
    outbound_messages: OutboundMessages, reopen: Callable[[], OutboundMessages], clock: Clock
) -> None:
    audio = bytes(range(256)) * 100
    token = outbound_messages.save_voice_note(audio)
    clock.now += 3599
    assert outbound_messages.voice_note(token) == reopen().voice_note(token) == audio
    clock.now += 2
    assert outbound_messages.voice_note(token) is None


@pytest.mark.parametrize("token", ["", "x", "../x", "0" * 32, "' OR 1=1 --"])
def test_an_unknown_token_has_no_note(outbound_messages: OutboundMessages, token: str) -> None:
    outbound_messages.save_voice_note(b"OggS")
    assert outbound_messages.voice_note(token) is None


def test_tokens_cannot_be_guessed_and_fit_an_address(outbound_messages: OutboundMessages) -> None:
    tokens = {outbound_messages.save_voice_note(b"same") for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) >= 32 and token.isalnum() for token in tokens)


def test_purging_a_turn_deletes_the_records_of_its_parts(
    store: TurnTable, outbound_messages: OutboundMessages
) -> None:
    for sid, received_at in (("SM1", START), ("SM2", START + 10)):
        turn = admit(store, sid, received_at)
        outbound_messages.begin(turn, "text 1")
        outbound_messages.finish(turn, "text 1", f"out {sid}")
        store.finish(turn)
    assert store.purge(before=START + 1) == 1
    assert [outbound_messages.has_sid(f"out {sid}") for sid in ("SM1", "SM2")] == [False, True]


def test_expired_voice_notes_are_deleted(
    outbound_messages: OutboundMessages, database: Database, clock: Clock
) -> None:
    outbound_messages.save_voice_note(b"old")
    clock.now += NOTE_LIFETIME + 1
    newer = outbound_messages.save_voice_note(b"new")
    outbound_messages.purge()
    with database.engine.connect() as connection:
        assert list(connection.execute(select(voice_notes.c.token)).scalars()) == [newer]
