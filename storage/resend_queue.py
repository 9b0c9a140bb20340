"""The messages that were not delivered and are to be sent once more.

They are the rows of ``sendings`` with a ``retry_at``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from core.models import Turn
from storage.database import Database
from storage.outbound_messages import PART, new_callback
from storage.schema import outbound_messages, turns
from storage.turns import STALE_SECONDS, turn_from_row

# For how long a claimed message is left to its claimer; converting a voice note takes less. Also
# the pause after a send that failed, because what made it fail may have passed by then.
CLAIM_SECONDS = 60.0

_SET_RETRY = update(outbound_messages).where(*PART).values(retry_at=bindparam("again_at"))
# The same, unless another process has claimed the message in the meantime.
_SET_RETRY_OF_CLAIM = _SET_RETRY.where(outbound_messages.c.retry_at == bindparam("claimed"))
_NEW = ("turn_id", "part", "begun_at", "callback")
_INSERT = insert(outbound_messages).values({name: bindparam(name) for name in _NEW})
# A message that a status callback has reported was sent.
_DELETE_UNSENT = delete(outbound_messages).where(
    *PART, outbound_messages.c.sid.is_(None), outbound_messages.c.state.is_(None)
)


@dataclass(frozen=True)
class Undelivered:
    """A message that was not delivered, and is sent again as ``resend_part`` with ``callback``.

    ``code`` is Twilio's error code, ``voice_note_token`` the token of the voice note, if it is one.
    No other process claims it until ``claimed_until`` (epoch seconds).
    """

    turn: Turn
    part: str
    code: int | None
    voice_note_token: str | None
    resend_part: str
    callback: str
    claimed_until: float


class ResendQueue:
    """Thread-safe; all methods raise ``StorageError``."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def claim(self) -> Undelivered | None:
        """Claim a message that is due, for ``CLAIM_SECONDS``.

        After that it is due again, unless its resend has begun or it was dropped. It expires ten
        minutes after the message that it answers.
        """
        now = time.time()
        due = (
            select(turns, outbound_messages.c.turn_id, outbound_messages.c.part)
            .add_columns(outbound_messages.c.error_code, outbound_messages.c.note)
            .join(outbound_messages)
            .where(outbound_messages.c.retry_at <= now, turns.c.received_at > now - STALE_SECONDS)
            .order_by(outbound_messages.c.retry_at)
            .limit(1)
            .with_for_update(of=outbound_messages, skip_locked=True)
        )

        def claim(connection: Connection) -> Undelivered | None:
            row = connection.execute(due).first()
            if row is None:
                return None
            undelivered = _from_row(row, now + CLAIM_SECONDS)
            later = {"again_at": undelivered.claimed_until}
            connection.execute(_SET_RETRY, {"turn": row.turn_id, "which": row.part} | later)
            return undelivered

        return self._database.run(claim)

    def begin(self, undelivered: Undelivered) -> bool:
        """Store that the message is being sent again, which then never happens a second time.

        ``False`` if another process has claimed it in the meantime.
        """
        new = {"turn_id": undelivered.turn.id, "part": undelivered.resend_part}
        new |= {"begun_at": time.time(), "callback": undelivered.callback}

        def begin(connection: Connection) -> bool:
            ended = connection.execute(_SET_RETRY_OF_CLAIM, _end_of_claim(undelivered))
            if not ended.rowcount:
                return False
            connection.execute(_INSERT, new)
            return True

        return self._database.run(begin)

    def postpone(self, undelivered: Undelivered) -> None:
        """Try again after ``CLAIM_SECONDS``: the resend was begun, but surely not sent."""
        turn = {"turn": undelivered.turn.id}
        begun = turn | {"which": undelivered.resend_part}
        later = turn | {"which": undelivered.part, "again_at": time.time() + CLAIM_SECONDS}

        def postpone(connection: Connection) -> None:
            if connection.execute(_DELETE_UNSENT, begun).rowcount:
                connection.execute(_SET_RETRY, later)

        self._database.run(postpone)

    def drop(self, undelivered: Undelivered) -> None:
        """Never send the message again."""
        self._database.change(_SET_RETRY_OF_CLAIM, _end_of_claim(undelivered))


def _end_of_claim(undelivered: Undelivered) -> dict[str, Any]:
    """The parameters of ``_SET_RETRY_OF_CLAIM`` that end the claim."""
    part = {"turn": undelivered.turn.id, "which": undelivered.part}
    return part | {"claimed": undelivered.claimed_until, "again_at": None}


def _from_row(row: Row[Any], claimed_until: float) -> Undelivered:
    return Undelivered(
        turn=turn_from_row(row),
        part=row.part,
        code=row.error_code,
        voice_note_token=row.note,
        resend_part=f"{row.part} again",
        callback=new_callback(),
        claimed_until=claimed_until,
    )
