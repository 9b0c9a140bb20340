"""How many messages are accepted, from one sender and from all; in both kinds of database."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from core.models import Inbound, Kind
from core.settings import Settings
from storage.database import Database
from storage.quotas import DAY, MINUTE, Quota, Quotas, build_quotas
from storage.turns import TurnTable
from tests.unit.conftest import START

THREE = Quota(3, MINUTE, "limit_minute")


class Admission:
    """Admits messages within quotas."""

    def __init__(self, database: Database, *quotas: Quota) -> None:
        self.quotas = Quotas(database=database, quotas=quotas)
        self._store = TurnTable(database=database, admission=self.quotas.admission_condition())

    def insert(self, sid: str, seconds: float, sender: str = "ana") -> bool:
        """Whether a message is accepted that comes ``seconds`` after START."""
        return self._store.insert(_message(sid, seconds, sender)) is not None


def _message(sid: str, seconds: float, sender: str = "ana") -> Inbound:
    return Inbound(sid=sid, sender=sender, kind=Kind.TEXT, received_at=START + seconds)


def test_a_quota_applies_to_any_minute(database: Database) -> None:
    admission = Admission(database, THREE)
    assert [admission.insert(f"SM{second}", second) for second in (0, 20, 40, 59.9)] == [
        True
    ] * 3 + [False]
    # The window slides: there is room for one, and then for another.
    assert admission.insert("SM5", 60)
    assert not admission.insert("SM6", 79.9)
    assert admission.insert("SM7", 80)


def test_refused_messages_do_not_count(database: Database) -> None:
    """A sender who keeps writing is served again as soon as one who waits."""
    admission = Admission(database, THREE)
    for number in range(60):
        admission.insert(f"SM{number}", number)
    assert admission.insert("SM60", 60)


def test_each_sender_has_a_quota_of_their_own(database: Database) -> None:
    admission = Admission(database, THREE)
    for number in range(4):
        admission.insert(f"SM{number}", 0)
    assert admission.insert("SM9", 0, "ben")


def test_a_shared_quota_counts_all_senders(database: Database) -> None:
    admission = Admission(database, Quota(3, MINUTE, "busy", shared=True))
    accepted = [admission.insert(f"SM{number}", number, f"sender{number}") for number in range(4)]
    assert accepted == [True, True, True, False]
    assert admission.insert("SM5", 60, "sender0")


def test_the_quota_that_was_exceeded_is_named(database: Database) -> None:
    day = Quota(4, DAY, "limit_day")
    admission = Admission(database, day, THREE)
    for number in range(3):
        assert admission.insert(f"SM{number}", 0)
    assert not admission.insert("SM3", 1)
    assert admission.quotas.find_exceeded(_message("SM3", 1)) is THREE
    assert admission.insert("SM4", 100)
    assert not admission.insert("SM5", 3600)
    assert admission.quotas.find_exceeded(_message("SM5", 3600)) is day


def test_without_quotas_every_message_is_accepted(database: Database) -> None:
    admission = Admission(database)
    assert all(admission.insert(f"SM{number}", 0) for number in range(300))
    assert not admission.insert("SM0", 0)


def test_quotas_need_no_statement_of_their_own(database: Database) -> None:
    """Every webhook would have to wait for it."""
    admission = Admission(database, Quota(200, DAY, "limit_day"), THREE)
    admission.insert("SM0", 0)
    made: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        made.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        assert admission.insert("SM1", 1)
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    assert len(made) == 1


@pytest.mark.parametrize(
    ("minute", "day", "everybody", "phrases"),
    [
        (20, 200, 5, ["limit_day", "limit_minute", "busy"]),
        (0, 200, 0, ["limit_day"]),
        (0, 0, 0, []),
    ],
)
def test_zero_means_no_quota(minute: int, day: int, everybody: int, phrases: list[str]) -> None:
    settings = Settings.model_construct(
        SENDER_TURNS_PER_MINUTE=minute, SENDER_TURNS_PER_DAY=day, TURNS_PER_MINUTE=everybody
    )
    assert [quota.phrase for quota in build_quotas(settings)] == phrases
