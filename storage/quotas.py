"""Limits the number of messages that are accepted from one sender, and from all, within a time.

The stored messages are counted, so the limits hold over all processes and restarts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Float, Text, and_, bindparam, func, select, true

from core.models import Inbound
from core.settings import Settings
from storage.database import Database
from storage.schema import turn_sender, turns
from storage.turns import external_user_id

MINUTE, DAY = 60.0, 86400.0

# Parameters of the new message, as ``TurnTable.insert`` names them.
_SENDER = func.coalesce(
    bindparam("new_external_user_id", type_=Text), bindparam("new_sender", type_=Text)
)
_RECEIVED_AT = bindparam("new_received_at", type_=Float)


@dataclass(frozen=True)
class Quota:
    """At most ``limit`` messages in ``seconds`` from each sender or, if ``shared``, from all.

    A sender beyond the limit gets the phrase with the key ``phrase`` (``text/phrases.toml``).
    """

    limit: int
    seconds: float
    phrase: str
    shared: bool = False

    def condition(self) -> ColumnElement[bool]:
        """Whether one more message is allowed, as SQL; it reads ``limit`` entries of an index."""
        latest = select(turns.c.received_at).order_by(turns.c.id.desc())
        if not self.shared:
            latest = latest.where(turn_sender == _SENDER)
        # If the message that came ``limit`` messages ago is within the time, one more is too many.
        first = latest.limit(1).offset(self.limit - 1).scalar_subquery()
        return func.coalesce(first, 0.0) <= _RECEIVED_AT - self.seconds


class Quotas:
    """The quotas of the settings, the longest first."""

    def __init__(self, *, database: Database, quotas: Sequence[Quota]) -> None:
        self._database = database
        self._quotas = quotas

    def admission_condition(self) -> ColumnElement[bool]:
        """Whether one more message is within all quotas, as SQL."""
        return and_(true(), *(quota.condition() for quota in self._quotas))

    def find_exceeded(self, message: Inbound) -> Quota | None:
        """The quota that the message exceeds, if any. Raises ``StorageError``."""
        values = {
            "new_sender": message.reply_address,
            "new_external_user_id": external_user_id(message),
            "new_received_at": message.received_at,
        }
        for quota in self._quotas:
            if not self._database.value(select(quota.condition()), values):
                return quota
        # None is exceeded any more.
        return None


def build_quotas(settings: Settings) -> list[Quota]:
    """The quotas that the settings ask for."""
    known = [
        Quota(settings.SENDER_TURNS_PER_DAY, DAY, "limit_day"),
        Quota(settings.SENDER_TURNS_PER_MINUTE, MINUTE, "limit_minute"),
        Quota(settings.TURNS_PER_MINUTE, MINUTE, "busy", shared=True),
    ]
    return [quota for quota in known if quota.limit]
