"""Accepts messages: each is stored once, before its webhook is answered."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import structlog
from sqlalchemy.exc import DBAPIError

from core.models import Inbound, Turn
from storage.database import StorageError
from storage.quotas import Quotas
from storage.turns import TurnTable
from storage.user_ids import UserIds

log = structlog.get_logger(__name__)


class Acceptance(Enum):
    """Whether a message was accepted, and if not, why."""

    NEW = "new"
    DUPLICATE = "duplicate"
    LIMITED = "limited"
    FULL = "full"
    # The database fails.
    FAILED = "failed"


class Intake:
    """``wake`` tells a worker of this process that there is a new turn.

    ``turns`` should use reserved database connections, which running turns cannot exhaust. Up to
    ``limit`` turns may be unfinished.
    """

    def __init__(
        self,
        *,
        turns: TurnTable,
        user_ids: UserIds,
        quotas: Quotas,
        limit: int,
        wake: Callable[[], None],
    ) -> None:
        self._turns = turns
        self._user_ids = user_ids
        self._quotas = quotas
        self._limit = limit
        self._wake = wake

    def accept(self, message: Inbound) -> Acceptance:
        """Store a message, if it is new and within the limits; it is committed on return."""
        try:
            if self._insert(message):
                self._wake()
                return Acceptance.NEW
            return self._find_reason(message)
        except StorageError:
            log.exception("The database fails; no message can be accepted")
            return Acceptance.FAILED

    def _insert(self, message: Inbound) -> Turn | None:
        try:
            return self._store(message)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        # The server closed the idle connection, so the new one is tried. If the message was stored
        # nevertheless, it counts as a duplicate.
        return self._store(message)

    def _store(self, message: Inbound) -> Turn | None:
        self._user_ids.move_rows(message)
        return self._turns.insert(message, limit=self._limit)

    def _find_reason(self, message: Inbound) -> Acceptance:
        # Check for a duplicate first: it gets an answer, so its sender must not be asked to resend.
        if self._turns.contains(message.sid):
            return Acceptance.DUPLICATE
        return Acceptance.LIMITED if self._quotas.find_exceeded(message) else Acceptance.FULL
