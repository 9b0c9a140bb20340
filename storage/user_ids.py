"""Moves what is stored under a sender's address to the user id that Twilio has begun to give."""

from __future__ import annotations

import threading
from contextlib import suppress

from cachetools import LRUCache
from sqlalchemy import Connection, Table, Text, bindparam, exists, not_, or_, select, update
from sqlalchemy.exc import IntegrityError

from core.models import Inbound
from storage.database import Database
from storage.schema import agent_sessions, preferences, turn_sender, turns

# How many senders a process remembers as seen. For other senders it runs one more statement.
REMEMBERED = 10_000

_address = bindparam("address", type_=Text)
# Whether anything is stored under an address alone. A webhook waits for it, so it is one statement.
_IS_STORED = select(
    or_(
        exists().where(agent_sessions.c.sender == _address),
        exists().where(preferences.c.sender == _address),
        exists().where(turn_sender == _address, turns.c.external_user_id.is_(None)),
    )
)


class UserIds:
    """Thread-safe.

    Rows are stored under an address by the former release, which did not read user ids, or because
    Twilio gave none with a message.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._seen: LRUCache[str, bool] = LRUCache(REMEMBERED)

    def move_rows(self, message: Inbound) -> None:
        """Move the rows of the message's address to its sender, once for each sender.

        Raises ``StorageError``.
        """
        if not message.address or self._was_seen(message.sender):
            return
        if self._database.value(_IS_STORED, {"address": message.address}):
            self._move(message)
        with self._lock:
            self._seen[message.sender] = True

    def _move(self, message: Inbound) -> None:
        def move(connection: Connection) -> None:
            for table in (agent_sessions, preferences):
                _move_row(connection, table, message)
            _move_turns(connection, message)

        # Another process may move them at the same moment.
        with suppress(IntegrityError):
            self._database.run(move)

    def _was_seen(self, sender: str) -> bool:
        with self._lock:
            return sender in self._seen


def _move_row(connection: Connection, table: Table, message: Inbound) -> None:
    """Move the row of one table, unless the sender has one under the user id already."""
    stored = table.alias()
    is_known = exists().where(stored.c.sender == message.sender)
    connection.execute(
        update(table)
        .where(table.c.sender == message.address, not_(is_known))
        .values(sender=message.sender)
    )


def _move_turns(connection: Connection, message: Inbound) -> None:
    """Let earlier messages count for the sender's order and quotas."""
    without_id = turns.c.external_user_id.is_(None)
    connection.execute(
        update(turns)
        .where(turn_sender == message.address, without_id)
        .values(external_user_id=message.sender)
    )
