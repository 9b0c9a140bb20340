"""Senders who are not served get one line about it, whichever process sends that."""

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
MakeNotices = Callable[[], Notices]


@pytest.fixture
def make_notices(database: Database, clock: Clock) -> MakeNotices:
    """Builds the notices of one more process on the same database."""

    def make() -> Notices:
        return Notices(
            phrases=Phrases(),
            preferences=PreferenceTable(database=database),
            leases=DatabaseLeases(database=database),
            max_seconds=LONGEST,
        )

    return make


def message(text: str = "hello", sender: str = "ana") -> Inbound:
    return Inbound(sid="SM1", sender=sender, kind=Kind.TEXT, text=text)


def test_a_line_is_sent_once_per_period_over_all_processes(
    make_notices: MakeNotices, clock: Clock
) -> None:
    one, other = make_notices(), make_notices()
    assert (one.refusal_once(message(), "limit_minute", 60) or "").startswith("Sorry, that's a lot")
    assert one.refusal_once(message(), "limit_minute", 60) is None
    assert other.refusal_once(message(), "limit_minute", 60) is None
    clock.now += 61
    assert other.refusal_once(message(), "limit_minute", 60)


def test_every_sender_gets_every_kind_of_line(make_notices: MakeNotices) -> None:
    refusals = make_notices()
    refusals.refusal_once(message(), "limit_minute", 60)
    assert refusals.refusal_once(message(sender="ben"), "limit_minute", 60)
    assert refusals.refusal_once(message(), "limit_day", 60)


def test_no_line_is_suppressed_longer_than_the_maximum(
    make_notices: MakeNotices, clock: Clock
) -> None:
    refusals = make_notices()
    refusals.refusal_once(message(), "limit_day", 86400)
    clock.now += LONGEST + 1
    assert refusals.refusal_once(message(), "limit_day", 86400)


def test_the_line_is_in_the_senders_language(make_notices: MakeNotices, database: Database) -> None:
    """That of the text, or of the sender's last message if this one is a voice note."""
    refusals = make_notices()
    arabic = Phrases().translate("not_allowed", "ar")
    assert refusals.refusal_once(message("مرحبا", "ana"), "not_allowed", 60) == arabic
    PreferenceTable(database=database).save_language("ben", "ar")
    assert refusals.refusal_once(message("", "ben"), "not_allowed", 60) == arabic


def test_no_line_is_sent_while_the_database_fails(
    make_notices: MakeNotices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every message would get one."""

    def fail(*_: object) -> bool:
        raise StorageError

    monkeypatch.setattr(DatabaseLeases, "acquire", fail)
    assert make_notices().refusal_once(message(), "limit_minute", 60) is None
