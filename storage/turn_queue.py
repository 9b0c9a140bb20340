"""The queue of turns. It is the table ``turns`` itself: the process that runs a turn claims it.

Only the claim decides which process may run a turn. If several processes share the database, a
claim expires after ``CLAIM_SECONDS`` unless it is renewed. A process that does not renew its claims
is considered dead, and another process claims its turns.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import ReturningUpdate

from core.models import Turn
from storage.database import Database
from storage.schema import turn_sender, turns
from storage.turns import RUNNING, WAITING, turn_from_row

CLAIM_SECONDS = 12.0

_waiting, _running = (literal(state, literal_execute=True) for state in (WAITING, RUNNING))


class TurnQueue:
    """Thread-safe; all methods raise ``StorageError``.

    The claims of a ``single_process`` do not expire: at its start it releases all claims that an
    earlier process left.
    """

    def __init__(self, *, database: Database, single_process: bool) -> None:
        self._database = database
        self.single_process = single_process
        self._claim_statement = self._build_claim_statement()

    def claim(self, limit: int) -> list[Turn]:
        """Claim up to ``limit`` turns, the oldest first, and count an attempt of each.

        A turn can be claimed if it waits, or runs with an expired claim, and if its sender has no
        earlier unfinished turn.
        """
        claim = secrets.token_hex(16)
        try:
            rows = self._database.rows(self._claim_statement, {"limit": limit, "new_claim": claim})
        except IntegrityError:
            # Another process claimed a turn of the same sender at the same moment. Try again later.
            return []
        return sorted(map(turn_from_row, rows), key=lambda turn: turn.id)

    def renew(self, claims: Collection[str]) -> set[int]:
        """Extend claims by ``CLAIM_SECONDS``; returns the ids of the turns that are still ours."""
        statement = (
            update(turns)
            .where(turns.c.state == RUNNING, turns.c.claim.in_(claims))
            .values(claimed_until=self._expiry())
            .returning(turns.c.id)
        )
        return {row.id for row in self._database.rows(statement)}

    def release(
        self,
        turns_to_release: Collection[Turn],
        *,
        asked: Collection[int],
        failed: Collection[int] = (),
    ) -> None:
        """Let other processes claim turns that are not finished, if the claim is still ours.

        Their last attempt is not counted, except for the ids in ``failed``, and for those in
        ``asked`` without a stored answer: the agent may have processed the question.
        """
        owned = tuple_(turns.c.id, turns.c.claim).in_(
            [(turn.id, turn.claim) for turn in turns_to_release]
        )
        counts = or_(turns.c.id.in_(failed), and_(turns.c.id.in_(asked), turns.c.answer.is_(None)))
        self._database.change(
            update(turns)
            .where(owned)
            .values(
                state=WAITING,
                claim=null(),
                claimed_until=null(),
                attempts=case((counts, turns.c.attempts), else_=turns.c.attempts - 1),
            )
        )

    def requeue_running(self) -> int:
        """Put back all running turns, after an earlier process died; returns how many."""
        left = update(turns).where(turns.c.state == RUNNING).values(state=WAITING, claim=null())
        return self._database.change(left)

    def _build_claim_statement(self) -> ReturningUpdate[Any]:
        others = turns.alias("others")
        earlier = exists().where(
            func.coalesce(others.c.external_user_id, others.c.sender) == turn_sender,
            others.c.id != turns.c.id,
            or_(
                others.c.state == _running,
                and_(others.c.state == _waiting, others.c.id < turns.c.id),
            ),
        )
        free = (
            select(turns.c.id)
            .where(self._is_claimable(), not_(earlier))
            .order_by(turns.c.id)
            .limit(bindparam("limit"))
            .with_for_update(skip_locked=True, of=turns)
            # A CTE, so that it is executed only once, whatever plan is chosen for the rest.
            .cte("free")
        )
        return (
            update(turns)
            .where(turns.c.id.in_(select(free.c.id)))
            .values(
                state=RUNNING,
                attempts=turns.c.attempts + 1,
                claim=bindparam("new_claim"),
                claimed_until=self._expiry(),
            )
            .returning(turns)
        )

    def _is_claimable(self) -> ColumnElement[bool]:
        waits = turns.c.state == _waiting
        if self.single_process:
            return waits
        expired = and_(turns.c.state == _running, turns.c.claimed_until < self._database.now)
        return or_(waits, expired)

    def _expiry(self) -> ColumnElement[float] | None:
        return None if self.single_process else self._database.now + CLAIM_SECONDS
