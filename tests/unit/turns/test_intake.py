"""What accepting a message takes of the database, and what it survives."""

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

NAME = "inbox"


@pytest.fixture
def urgent(server: Postgres) -> Iterator[Database]:
    """Connections as a web process beside workers has them for messages."""
    url = server.database(NAME)
    open_postgres(url, connections=1).close()
    database = connect_postgres(url, connections=2, ping=False)
    database.open(2)
    yield database
    database.close()


@pytest.fixture
def inbox(urgent: Database) -> Intake:
    quotas = Quotas(database=urgent, quotas=[Quota(2, MINUTE, "limit_minute")])
    store = TurnTable(database=urgent, admission=quotas.admission_condition())
    user_ids = UserIds(database=urgent)
    return Intake(turns=store, user_ids=user_ids, quotas=quotas, limit=4, wake=lambda: None)


def message(sid: str, sender: str) -> Inbound:
    return Inbound(sid=sid, sender=sender, kind=Kind.TEXT)


def test_a_message_is_accepted_in_one_statement(inbox: Intake, urgent: Database) -> None:
    """Twilio waits 15 s for it, however slow the database is."""
    told: list[str] = []
    event.listen(urgent.engine, "before_cursor_execute", lambda _c, _x, sql, *_: told.append(sql))
    assert inbox.accept(message("SM1", "ana")) is Acceptance.NEW
    assert len(told) == 1


def test_what_is_not_accepted_is_told_apart(inbox: Intake) -> None:
    for sid in ("SM1", "SM2"):
        assert inbox.accept(message(sid, "ana")) is Acceptance.NEW
    assert inbox.accept(message("SM1", "ana")) is Acceptance.DUPLICATE
    assert inbox.accept(message("SM3", "ana")) is Acceptance.LIMITED
    for sid in ("SM4", "SM5"):
        assert inbox.accept(message(sid, "ben")) is Acceptance.NEW
    assert inbox.accept(message("SM6", "zoe")) is Acceptance.FULL


def test_connections_that_the_server_hung_up_meanwhile_refuse_no_message(
    inbox: Intake, server: Postgres
) -> None:
    assert server.kill_connections(NAME) == 2
    assert inbox.accept(message("SM1", "ana")) is Acceptance.NEW
    assert inbox.accept(message("SM2", "ana")) is Acceptance.NEW
