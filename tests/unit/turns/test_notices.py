"""Senders who are not served are told so once, by whichever process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.models import Inbound, Kind
from storage.database import Database, StorageError
from storage.leases import DatabaseLeases
from storage.preferences import PreferenceTable
from tests.unit.conftest import Clock
from text.phrases import Phrases
from turns.notices import Notices

LONGEST = 3600.0
Make = Callable[[], Notices]


@pytest.fixture
def make(database: Database, clock: Clock) -> Make:
    """Builds the notices of one process."""

    def made() -> Notices:
        return Notices(
            phrases=Phrases(),
            preferences=PreferenceTable(database=database),
            leases=DatabaseLeases(database=database),
            longest=LONGEST,
        )

    return made


def message(text: str = "hello", sender: str = "ana") -> Inbound:
    return Inbound(sid="SM1", sender=sender, kind=Kind.TEXT, text=text)


def test_it_is_said_once_in_a_while(make: Make, clock: Clock) -> None:
    one, other = make(), make()
    assert (one.refusal_once(message(), "limit_minute", 60) or "").startswith("Sorry, that's a lot")
    assert one.refusal_once(message(), "limit_minute", 60) is None
    assert other.refusal_once(message(), "limit_minute", 60) is None
    clock.now += 61
    assert other.refusal_once(message(), "limit_minute", 60)


def test_each_sender_is_told_each_thing(make: Make) -> None:
    refusals = make()
    refusals.refusal_once(message(), "limit_minute", 60)
    assert refusals.refusal_once(message(sender="ben"), "limit_minute", 60)
    assert refusals.refusal_once(message(), "limit_day", 60)


def test_nobody_is_remembered_longer_than_anything_is(make: Make, clock: Clock) -> None:
    refusals = make()
    refusals.refusal_once(message(), "limit_day", 86400)
    clock.now += LONGEST + 1
    assert refusals.refusal_once(message(), "limit_day", 86400)


def test_it_is_said_in_the_senders_language(make: Make, database: Database) -> None:
    """That of the message, or of the last one where a voice note does not show it."""
    refusals = make()
    arabic = Phrases().translate("not_allowed", "ar")
    assert refusals.refusal_once(message("مرحبا", "ana"), "not_allowed", 60) == arabic
    PreferenceTable(database=database).save_language("ben", "ar")
    assert refusals.refusal_once(message("", "ben"), "not_allowed", 60) == arabic


def test_a_database_that_fails_makes_it_silent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than say it each time."""

    def fail(*_: object) -> bool:
        raise StorageError

    monkeypatch.setattr(DatabaseLeases, "acquire", fail)
    assert make().refusal_once(message(), "limit_minute", 60) is None
