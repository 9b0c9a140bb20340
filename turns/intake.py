"""Accepting messages, each of them once."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import structlog
from sqlalchemy.exc import DBAPIError

from core.models import Inbound, Turn
from storage.quotas import Quotas
from storage.store import Store, StoreError

log = structlog.get_logger(__name__)


class Acceptance(Enum):
    """What became of a message that was handed in."""

    NEW = "new"
    DUPLICATE = "duplicate"
    LIMITED = "limited"
    FULL = "full"


class Intake:
    """Writes messages down for a worker, of this process or another, which ``wake`` tells.

    ``store`` is to have connections of its own, which turns cannot use up; at most ``limit`` turns
    may be unfinished.
    """

    def __init__(
        self, *, store: Store, quotas: Quotas, limit: int, wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._quotas = quotas
        self._limit = limit
        self._wake = wake

    def accept(self, message: Inbound) -> Acceptance:
        """Take a message, once per SID; unless refused it is in the database when this returns."""
        try:
            if self._admitted(message):
                self._wake()
                return Acceptance.NEW
            return self._refusal(message)
        except StoreError:
            log.exception("The database fails; no message can be accepted")
            return Acceptance.FULL

    def _admitted(self, message: Inbound) -> Turn | None:
        try:
            return self._store.admit(message, limit=self._limit)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        # The server hung up while the connection lay idle. If the message was written down
        # nevertheless, it is a duplicate now.
        return self._store.admit(message, limit=self._limit)

    def _refusal(self, message: Inbound) -> Acceptance:
        # Who is being answered must not be asked to write again.
        if self._store.knows(message.sid):
            return Acceptance.DUPLICATE
        return Acceptance.LIMITED if self._quotas.find_exceeded(message) else Acceptance.FULL
