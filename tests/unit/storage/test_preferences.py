"""The table of preferences, in both kinds of database."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.models import Preferences
from storage.database import Database
from storage.preferences import PreferenceTable
from tests.unit.conftest import START, Clock


@pytest.fixture
def reopen(database: Database) -> Callable[[], PreferenceTable]:
    """Builds the table of the next process on the same database."""

    def another() -> PreferenceTable:
        database.close()
        return PreferenceTable(database=database)

    return another


@pytest.fixture
def table(clock: Clock, reopen: Callable[[], PreferenceTable]) -> PreferenceTable:
    return reopen()


def test_each_preference_is_stored_without_changing_the_other(
    table: PreferenceTable, reopen: Callable[[], PreferenceTable]
) -> None:
    assert table.find("ana") == Preferences(voice=None, language=None)
    table.save_voice("ana", False)
    table.save_language("ana", "ar")
    assert table.find("ana") == Preferences(voice=False, language="ar", used_at=START)
    table.save_voice("ana", True)
    assert reopen().find("ana") == Preferences(True, "ar", START)
    assert table.find("ben") == Preferences()


def test_purging_deletes_unused_preferences(table: PreferenceTable, clock: Clock) -> None:
    table.save_voice("ana", True)
    clock.now += 3601
    table.save_language("ben", "en")
    table.purge(before=clock.now - 1)
    assert table.find("ana") == Preferences()
    assert table.find("ben").language == "en"
