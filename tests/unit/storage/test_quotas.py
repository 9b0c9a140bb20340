"""How many messages are taken, of whom; on real databases."""

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


class Door:
    """Takes messages within quotas."""

    def __init__(self, database: Database, *quotas: Quota) -> None:
        self.quotas = Quotas(database=database, quotas=quotas)
        self._store = TurnTable(database=database, admission=self.quotas.admission_condition())

    def comes(self, sid: str, seconds: float, sender: str = "ana") -> bool:
        """Whether a message that comes so many seconds after the start is taken."""
        return self._store.insert(_message(sid, seconds, sender)) is not None


def _message(sid: str, seconds: float, sender: str = "ana") -> Inbound:
    return Inbound(sid=sid, sender=sender, kind=Kind.TEXT, received_at=START + seconds)


def test_so_many_are_taken_within_any_minute(database: Database) -> None:
    door = Door(database, THREE)
    assert [door.comes(f"SM{second}", second) for second in (0, 20, 40, 59.9)] == [True] * 3 + [
        False
    ]
    # The window slides: there is room for one, and then for another.
    assert door.comes("SM5", 60)
    assert not door.comes("SM6", 79.9)
    assert door.comes("SM7", 80)


def test_what_was_refused_does_not_count(database: Database) -> None:
    """Whoever goes on writing is served again as soon as anybody else."""
    door = Door(database, THREE)
    for number in range(60):
        door.comes(f"SM{number}", number)
    assert door.comes("SM60", 60)


def test_one_sender_takes_nothing_from_others(database: Database) -> None:
    door = Door(database, THREE)
    for number in range(4):
        door.comes(f"SM{number}", 0)
    assert door.comes("SM9", 0, "ben")


def test_all_together(database: Database) -> None:
    door = Door(database, Quota(3, MINUTE, "busy", shared=True))
    taken = [door.comes(f"SM{number}", number, f"sender{number}") for number in range(4)]
    assert taken == [True, True, True, False]
    assert door.comes("SM5", 60, "sender0")


def test_the_quota_that_was_exceeded_is_named(database: Database) -> None:
    day = Quota(4, DAY, "limit_day")
    door = Door(database, day, THREE)
    for number in range(3):
        assert door.comes(f"SM{number}", 0)
    assert not door.comes("SM3", 1)
    assert door.quotas.find_exceeded(_message("SM3", 1)) is THREE
    assert door.comes("SM4", 100)
    assert not door.comes("SM5", 3600)
    assert door.quotas.find_exceeded(_message("SM5", 3600)) is day


def test_without_quotas_everything_is_taken(database: Database) -> None:
    door = Door(database)
    assert all(door.comes(f"SM{number}", 0) for number in range(300))
    assert not door.comes("SM0", 0)


def test_counting_is_no_statement_of_its_own(database: Database) -> None:
    """Every webhook pays for it."""
    door = Door(database, Quota(200, DAY, "limit_day"), THREE)
    door.comes("SM0", 0)
    made: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        made.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        assert door.comes("SM1", 1)
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
def test_zero_is_no_quota(minute: int, day: int, everybody: int, phrases: list[str]) -> None:
    settings = Settings.model_construct(
        SENDER_TURNS_PER_MINUTE=minute, SENDER_TURNS_PER_DAY=day, TURNS_PER_MINUTE=everybody
    )
    assert [quota.phrase for quota in build_quotas(settings)] == phrases
