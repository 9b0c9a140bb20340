"""What is said to whoever is not served: once, whichever process says it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.models import Inbound, Kind
from storage.database import Database
from storage.leases import DatabaseLeases
from storage.store import Store, StoreError
from tests.unit.conftest import Clock
from text.phrases import Phrases
from turns.notices import Notices
from turns.refusals import RefusalNotices

LONGEST = 3600.0
Make = Callable[[], RefusalNotices]


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database=database)


@pytest.fixture
def make(database: Database, store: Store, clock: Clock) -> Make:
    """One process's."""

    def made() -> RefusalNotices:
        notices = Notices(phrases=Phrases(), store=store)
        return RefusalNotices(
            notices=notices, leases=DatabaseLeases(database=database), longest=LONGEST
        )

    return made


def message(text: str = "hello", sender: str = "ana") -> Inbound:
    return Inbound(sid="SM1", sender=sender, kind=Kind.TEXT, text=text)


def test_it_is_said_once_in_a_while(make: Make, clock: Clock) -> None:
    one, other = make(), make()
    assert (one.line(message(), "limit_minute", 60) or "").startswith("Sorry, that's a lot")
    assert one.line(message(), "limit_minute", 60) is None
    assert other.line(message(), "limit_minute", 60) is None
    clock.now += 61
    assert other.line(message(), "limit_minute", 60)


def test_each_sender_is_told_each_thing(make: Make) -> None:
    refusals = make()
    refusals.line(message(), "limit_minute", 60)
    assert refusals.line(message(sender="ben"), "limit_minute", 60)
    assert refusals.line(message(), "limit_day", 60)


def test_nobody_is_remembered_longer_than_anything_is(make: Make, clock: Clock) -> None:
    refusals = make()
    refusals.line(message(), "limit_day", 86400)
    clock.now += LONGEST + 1
    assert refusals.line(message(), "limit_day", 86400)


def test_it_is_said_in_the_senders_language(make: Make, store: Store) -> None:
    """That of the message, or of the last one where a voice note does not show it."""
    refusals = make()
    arabic = Phrases().translate("not_allowed", "ar")
    assert refusals.line(message("مرحبا", "ana"), "not_allowed", 60) == arabic
    store.remember_language("ben", "ar")
    assert refusals.line(message("", "ben"), "not_allowed", 60) == arabic


def test_a_database_that_fails_makes_it_silent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than say it each time."""

    def fail(*_: object) -> bool:
        raise StoreError

    monkeypatch.setattr(DatabaseLeases, "acquire", fail)
    assert make().line(message(), "limit_minute", 60) is None
