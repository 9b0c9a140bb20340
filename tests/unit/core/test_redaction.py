"""Exceptions are logged without messages that quote people or secrets."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
import requests
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from core.errors import SendBusy
from core.redaction import describe_error, render
from storage.database import Database

QUOTED = "I live at 12 Elm Street"


def database_error(database: Database, statement: str) -> SQLAlchemyError:
    with pytest.raises(SQLAlchemyError) as failed, database.engine.begin() as connection:
        connection.execute(text(statement), {"quoted": QUOTED})
    return failed.value


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SendBusy("Twilio error 20429"), "SendBusy: Twilio error 20429"),
        (SendBusy(), "SendBusy: Twilio accepts no more messages for now."),
        (ValueError(QUOTED), "ValueError"),
        (KeyError(QUOTED), "KeyError"),
        (OSError(28, "No space left on device", QUOTED), "OSError: No space left on device"),
        (ConnectionResetError(QUOTED), "ConnectionResetError"),
        (requests.ConnectionError(28, QUOTED), "ConnectionError"),
        (
            psycopg.OperationalError(f"server closed\nLINE 1: {QUOTED}"),
            "OperationalError: server closed",
        ),
        (
            psycopg.OperationalError("failed to resolve host 'of-the-pass'word@db.invalid': no"),
            "OperationalError: failed to resolve host '…@db.invalid': no",
        ),
        (psycopg.DataError(f"invalid input: {QUOTED}"), "DataError"),
    ],
)
def test_a_reason_is_logged_only_if_it_quotes_nothing(error: BaseException, line: str) -> None:
    assert describe_error(error) == line


def test_a_database_error_names_the_table_but_no_values(database: Database) -> None:
    missing = describe_error(
        database_error(database, f"SELECT '{QUOTED}' FROM nowhere WHERE :quoted = ''")
    )
    assert "nowhere" in missing
    assert QUOTED not in missing
    assert QUOTED not in describe_error(
        database_error(database, "INSERT INTO leases (name) VALUES (:quoted)")
    )


def test_causes_come_first_and_once() -> None:
    try:
        try:
            sqlite3.connect(":memory:").execute(QUOTED)
        except sqlite3.Error as error:
            raise SendBusy("Twilio error 20429") from error
    except SendBusy as raised:
        lines = render((SendBusy, raised, raised.__traceback__)).splitlines()
        assert raised.__cause__
        raised.__cause__.__context__ = raised
        again = render((SendBusy, raised, raised.__traceback__))
    assert [line for line in lines if not line.startswith((" ", "Traceback"))] == [
        "OperationalError",
        "",
        "which led to:",
        "",
        "SendBusy: Twilio error 20429",
    ]
    assert again.splitlines() == lines


def test_a_hidden_context_stays_hidden() -> None:
    try:
        try:
            int(QUOTED)
        except ValueError:
            raise SendBusy from None
    except SendBusy as error:
        assert "ValueError" not in render((SendBusy, error, error.__traceback__))
