"""What the log tells of exceptions."""

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

SAID = "I live at 12 Elm Street"


def failure(database: Database, statement: str) -> SQLAlchemyError:
    with pytest.raises(SQLAlchemyError) as failed, database.engine.begin() as connection:
        connection.execute(text(statement), {"said": SAID})
    return failed.value


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SendBusy("Twilio error 20429"), "SendBusy: Twilio error 20429"),
        (SendBusy(), "SendBusy: Twilio takes no more messages for now."),
        (ValueError(SAID), "ValueError"),
        (KeyError(SAID), "KeyError"),
        (OSError(28, "No space left on device", SAID), "OSError: No space left on device"),
        (ConnectionResetError(SAID), "ConnectionResetError"),
        (requests.ConnectionError(28, SAID), "ConnectionError"),
        (
            psycopg.OperationalError(f"server closed\nLINE 1: {SAID}"),
            "OperationalError: server closed",
        ),
        (psycopg.DataError(f"invalid input: {SAID}"), "DataError"),
    ],
)
def test_only_reasons_that_quote_nobody_are_told(error: BaseException, line: str) -> None:
    assert describe_error(error) == line


def test_a_database_says_what_failed_but_not_on_what(database: Database) -> None:
    missing = describe_error(failure(database, f"SELECT '{SAID}' FROM nowhere WHERE :said = ''"))
    assert "nowhere" in missing
    assert SAID not in missing
    assert SAID not in describe_error(failure(database, "INSERT INTO leases (name) VALUES (:said)"))


def test_causes_come_first_each_once() -> None:
    try:
        try:
            sqlite3.connect(":memory:").execute(SAID)
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
            int(SAID)
        except ValueError:
            raise SendBusy from None
    except SendBusy as error:
        assert "ValueError" not in render((SendBusy, error, error.__traceback__))
