"""What is deleted or ended after its time, and what must not be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from core.models import AgentSession, Inbound, Kind
from storage import answers
from storage.agent_sessions import AgentSessionTable
from storage.answers import AnswerTable
from storage.database import Database
from storage.leases import DatabaseLeases, Leases
from storage.outbound_messages import OutboundMessages
from storage.preferences import PreferenceTable
from storage.processes import Processes
from storage.schema import turns
from storage.speech import SpeechSegment, SpeechTable
from storage.turns import TurnTable
from tests.unit.conftest import put_session
from turns import cleanup as turns_cleanup
from turns import health as turns_health
from turns.agent_sessions import AgentSessions
from turns.cleanup import ENDED_AT_ONCE, GRACE, Cleanup
from turns.health import Health

DAY = 24 * 3600.0
IDLE = 1800.0


class Sessions(AgentSessions):
    """Drops sessions like the real class, and notes which, but does not call Agentforce."""

    def __init__(self, table: AgentSessionTable) -> None:
        self.table = table
        self.ended: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def expire(self, sender: str, *, unused_since: float) -> None:
        if session := self.table.delete(sender, unused_since=unused_since):
            self.ended.append(session.id)
            self.meanwhile()


@pytest.fixture
def store(database: Database) -> TurnTable:
    return TurnTable(database=database)


@pytest.fixture
def session_table(database: Database) -> AgentSessionTable:
    return AgentSessionTable(database=database)


@pytest.fixture
def outbound_messages(database: Database) -> OutboundMessages:
    return OutboundMessages(database=database, note_lifetime=-1)


@pytest.fixture
def leases(database: Database) -> Leases:
    return DatabaseLeases(database=database)


@pytest.fixture
def caches(database: Database) -> tuple[SpeechTable, AnswerTable]:
    return SpeechTable(database=database, max_bytes=10), AnswerTable(
        database=database, lifetime=9e9
    )


@pytest.fixture
def sessions(session_table: AgentSessionTable) -> Sessions:
    return Sessions(session_table)


@pytest.fixture
def workers() -> list[str]:
    """The worker processes that are alive."""
    return ["worker"]


@pytest.fixture
def cleanup(
    database: Database,
    store: TurnTable,
    outbound_messages: OutboundMessages,
    leases: Leases,
    caches: tuple[SpeechTable, AnswerTable],
    session_table: AgentSessionTable,
    sessions: Sessions,
    workers: list[str],
) -> Cleanup:
    health = Health(backlog=store.backlog, workers=lambda: len(workers), down=list)
    return Cleanup(
        database=database,
        turns=store,
        leases=leases,
        session_table=session_table,
        retained=(*caches, Processes(database=database), PreferenceTable(database=database)),
        expiring=(leases, outbound_messages),
        sessions=sessions,
        health=health,
        retention=DAY,
        session_idle=IDLE,
    )


def use_session(table: AgentSessionTable, sender: str, *, ago: float) -> None:
    put_session(table, sender, AgentSession(f"{sender} {ago}", time.time() - ago))


def test_waiting_turns_without_a_live_worker_are_logged_as_an_error(
    store: TurnTable, cleanup: Cleanup, workers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_health, "FRESH_SECONDS", 0.0)
    store.insert(Inbound(sid="SM1", sender="ana", kind=Kind.TEXT, text="", received_at=0.0))
    with capture_logs() as lines:
        cleanup.run_once()
        assert not lines
        workers.clear()
        cleanup.run_once()
    (line,) = lines
    assert line["log_level"] == "error"
    assert line["waiting"] == 1


def sids_with_content(database: Database) -> set[str]:
    """The SIDs of the messages whose sender and text are still stored."""
    known = database.rows(select(turns.c.message_sid).where(turns.c.sender != ""))
    return {row.message_sid for row in known}


def test_one_process_at_a_time_cleans_up(
    database: Database, store: TurnTable, leases: Leases, cleanup: Cleanup
) -> None:
    turn = store.insert(Inbound(sid="old", sender="ana", kind=Kind.TEXT, received_at=0.0))
    assert turn
    store.finish(turn)
    with leases.hold("housekeeping"):
        cleanup.run_once()
        assert sids_with_content(database) == {"old"}
    cleanup.run_once()
    assert sids_with_content(database) == set()


def test_finished_turns_are_deleted_after_the_retention(
    database: Database, store: TurnTable, cleanup: Cleanup
) -> None:
    for sid, age in (("old", DAY + 60), ("young", DAY - 60), ("open", DAY * 9)):
        received = time.time() - age
        turn = store.insert(
            Inbound(sid=sid, sender="ana", kind=Kind.TEXT, text="secret", received_at=received)
        )
        assert turn
        if sid != "open":
            store.finish(turn)
    cleanup.run_once()
    assert sids_with_content(database) == {"young", "open"}


def test_cached_audio_and_answers_are_deleted_after_the_retention(
    caches: tuple[SpeechTable, AnswerTable],
    cleanup: Cleanup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audio_table, answer_table = caches
    audio_table.save("old", SpeechSegment(b"....", time.time() - DAY - 60))
    audio_table.save("young", SpeechSegment(b"....", time.time() - DAY + 60))
    answer_table.save("young", "an answer")
    with monkeypatch.context() as earlier:
        earlier.setattr(answers, "time", SimpleNamespace(time=lambda: time.time() - DAY - 60))
        answer_table.save("old", "an answer")
    assert answer_table.find("old")
    cleanup.run_once()
    for cache in caches:
        assert [bool(cache.find(key)) for key in ("old", "young")] == [False, True]


def test_idle_sessions_are_ended(
    store: TurnTable, session_table: AgentSessionTable, sessions: Sessions, cleanup: Cleanup
) -> None:
    """Only after a grace period: a turn may have taken the session just in time."""
    use_session(session_table, "ana", ago=IDLE + GRACE + 5)
    use_session(session_table, "ben", ago=IDLE + GRACE - 5)
    use_session(session_table, "cleo", ago=0)
    cleanup.run_once()
    cleanup.run_once()
    assert sessions.ended == [f"ana {IDLE + GRACE + 5}"]
    assert session_table.find("ben")
    assert session_table.find("cleo")


def test_a_session_that_is_used_while_others_are_ended_is_kept(
    session_table: AgentSessionTable,
    sessions: Sessions,
    cleanup: Cleanup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each end may take ten seconds, so the list of idle sessions becomes outdated."""
    monkeypatch.setattr(turns_cleanup, "ENDED_AT_ONCE", 1)
    for sender in ("ana", "ben", "cleo"):
        use_session(session_table, sender, ago=DAY)

    def come_back() -> None:
        use_session(session_table, "ben", ago=0)
        session_table.delete("cleo")

    sessions.meanwhile = come_back
    cleanup.run_once()
    assert sessions.ended == [f"ana {DAY}"]
    assert session_table.find("ben") is not None


def test_idle_sessions_are_ended_concurrently(
    session_table: AgentSessionTable, sessions: Sessions, cleanup: Cleanup
) -> None:
    for number in range(ENDED_AT_ONCE * 2):
        use_session(session_table, f"user {number}", ago=DAY)
    # The barrier breaks unless so many sessions are being ended at the same time.
    together = threading.Barrier(ENDED_AT_ONCE, timeout=10)

    def meet() -> None:
        together.wait()

    sessions.meanwhile = meet
    cleanup.run_once()
    assert len(sessions.ended) == ENDED_AT_ONCE * 2
    assert not together.broken


def test_the_lease_is_held_while_sessions_are_being_ended(
    session_table: AgentSessionTable, leases: Leases, sessions: Sessions, cleanup: Cleanup
) -> None:
    use_session(session_table, "ana", ago=DAY)
    ours: list[bool] = []

    def try_to_hold_the_lease() -> None:
        with leases.hold("housekeeping") as held:
            ours.append(held)

    sessions.meanwhile = try_to_hold_the_lease
    cleanup.run_once()
    assert ours == [False]


def test_a_session_that_cannot_be_ended_is_logged_and_tried_again(
    session_table: AgentSessionTable, sessions: Sessions, cleanup: Cleanup
) -> None:
    use_session(session_table, "ana", ago=DAY)
    expire = sessions.expire

    def fail(sender: str, *, unused_since: float) -> None:
        raise OSError("disk")

    sessions.expire = fail  # type: ignore[method-assign]
    with capture_logs() as lines:
        cleanup.run_once()
    assert [line["log_level"] for line in lines] == ["error"]
    sessions.expire = expire  # type: ignore[method-assign]
    cleanup.run_once()
    assert sessions.ended == [f"ana {DAY}"]


def test_a_failed_cleanup_is_repeated_at_the_next_interval(
    store: TurnTable,
    session_table: AgentSessionTable,
    sessions: Sessions,
    cleanup: Cleanup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns_cleanup, "INTERVAL", 0.01)
    tidied = threading.Semaphore(0)
    purge = store.purge

    def fail_first(*, before: float) -> int:
        tidied.release()
        monkeypatch.setattr(store, "purge", purge)
        raise OSError("disk")

    monkeypatch.setattr(store, "purge", fail_first)
    ended = threading.Event()
    sessions.meanwhile = ended.set
    use_session(session_table, "ana", ago=DAY)
    cleanup.start()
    assert tidied.acquire(timeout=5)
    assert ended.wait(5)
    cleanup.stop()


def test_a_stopped_cleanup_does_nothing(
    session_table: AgentSessionTable,
    sessions: Sessions,
    cleanup: Cleanup,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns_cleanup, "INTERVAL", 0.01)
    cleanup.stop()
    cleanup.start()
    use_session(session_table, "ana", ago=DAY)
    for thread in threading.enumerate():
        if thread.name == "housekeeper" and thread.daemon:
            thread.join(0.2)
    assert sessions.ended == []
