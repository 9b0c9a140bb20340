"""What accepting a message costs the database, and which failures it survives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import event

from core.models import Inbound, Kind
from sandbox.postgres import Postgres
from storage.database import Database
from storage.engine import connect_postgres, open_postgres
from storage.quotas import MINUTE, Quota, Quotas
from storage.turns import TurnTable
from storage.user_ids import UserIds
from turns.intake import Acceptance, Intake

NAME = "intake"


@pytest.fixture
def urgent(server: Postgres) -> Iterator[Database]:
    """The connections that a web process beside workers uses for messages."""
    url = server.database(NAME)
    open_postgres(url, connections=1).close()
    database = connect_postgres(url, connections=2, ping=False)
    database.open(2)
    yield database
    database.close()


@pytest.fixture
def intake(urgent: Database) -> Intake:
    quotas = Quotas(database=urgent, quotas=[Quota(2, MINUTE, "limit_minute")])
    store = TurnTable(database=urgent, admission=quotas.admission_condition())
    user_ids = UserIds(database=urgent)
    return Intake(turns=store, user_ids=user_ids, quotas=quotas, limit=4, wake=lambda: None)


def message(sid: str, sender: str) -> Inbound:
    return Inbound(sid=sid, sender=sender, kind=Kind.TEXT)


def test_a_message_is_accepted_in_one_statement(intake: Intake, urgent: Database) -> None:
    """Twilio waits 15 s, however slow the database is."""
    statements: list[str] = []
    event.listen(
        urgent.engine, "before_cursor_execute", lambda _c, _x, sql, *_: statements.append(sql)
    )
    assert intake.accept(message("SM1", "ana")) is Acceptance.NEW
    assert len(statements) == 1


def test_each_reason_not_to_accept_a_message_is_reported(intake: Intake) -> None:
    for sid in ("SM1", "SM2"):
        assert intake.accept(message(sid, "ana")) is Acceptance.NEW
    assert intake.accept(message("SM1", "ana")) is Acceptance.DUPLICATE
    assert intake.accept(message("SM3", "ana")) is Acceptance.LIMITED
    for sid in ("SM4", "SM5"):
        assert intake.accept(message(sid, "ben")) is Acceptance.NEW
    assert intake.accept(message("SM6", "zoe")) is Acceptance.FULL


def test_messages_are_accepted_after_the_server_closed_the_connections(
    intake: Intake, server: Postgres
) -> None:
    assert server.kill_connections(NAME) == 2
    assert intake.accept(message("SM1", "ana")) is Acceptance.NEW
    assert intake.accept(message("SM2", "ana")) is Acceptance.NEW
