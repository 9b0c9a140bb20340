"""The queue of turns: the table ``turns`` itself, in which a turn is claimed by who runs it.

A claim is what decides whose turn it is, and nothing else does. Where several processes share the
database it ends after ``CLAIM_SECONDS`` unless it is renewed: who could not renew it is taken for
gone, and another process claims the turn.
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

    Claims of a process that is ``alone`` do not end: it gives back at its start what a former one
    left.
    """

    def __init__(self, *, database: Database, single_process: bool) -> None:
        self._database = database
        self.single_process = single_process
        self._claiming = self._made_to_claim()

    def claim(self, most: int) -> list[Turn]:
        """Begin up to ``most`` turns, the oldest first; from now on they are ours.

        A turn waits until those of its sender before it are done. Of those whose holder has let
        the claim end we become the holder. Each start is counted.
        """
        claim = secrets.token_hex(16)
        try:
            rows = self._database.rows(self._claiming, {"most": most, "mine": claim})
        except IntegrityError:
            # Two turns of a sender were claimed at the same moment; one was refused, and is later.
            return []
        return sorted(map(turn_from_row, rows), key=lambda turn: turn.id)

    def renew(self, claims: Collection[str]) -> set[int]:
        """Hold these for ``CLAIM_SECONDS`` more; returns the ids of turns that are still ours."""
        statement = (
            update(turns)
            .where(turns.c.state == RUNNING, turns.c.claim.in_(claims))
            .values(claimed_until=self._end())
            .returning(turns.c.id)
        )
        return {row.id for row in self._database.rows(statement)}

    def release(
        self, left: Collection[Turn], *, asked: Collection[int], broken: Collection[int] = ()
    ) -> None:
        """Give turns back that are not done, as far as they are still ours.

        Their start is taken back, but for those (ids) that have ``broken`` off, and those in which
        the agent was ``asked`` and has not answered: it may have heard.
        """
        ours = tuple_(turns.c.id, turns.c.claim).in_([(turn.id, turn.claim) for turn in left])
        counts = or_(turns.c.id.in_(broken), and_(turns.c.id.in_(asked), turns.c.answer.is_(None)))
        self._database.change(
            update(turns)
            .where(ours)
            .values(
                state=WAITING,
                claim=null(),
                claimed_until=null(),
                attempts=case((counts, turns.c.attempts), else_=turns.c.attempts - 1),
            )
        )

    def release_all(self) -> int:
        """Give back what a former process left; how many turns it ran when it died."""
        left = update(turns).where(turns.c.state == RUNNING).values(state=WAITING, claim=null())
        return self._database.change(left)

    def _made_to_claim(self) -> ReturningUpdate[Any]:
        others = turns.alias("others")
        in_front = exists().where(
            func.coalesce(others.c.external_user_id, others.c.sender) == turn_sender,
            others.c.id != turns.c.id,
            or_(
                others.c.state == _running,
                and_(others.c.state == _waiting, others.c.id < turns.c.id),
            ),
        )
        free = (
            select(turns.c.id)
            .where(self._is_free(), not_(in_front))
            .order_by(turns.c.id)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True, of=turns)
            # Carried out once, whatever the planner makes of the rest.
            .cte("free")
        )
        return (
            update(turns)
            .where(turns.c.id.in_(select(free.c.id)))
            .values(
                state=RUNNING,
                attempts=turns.c.attempts + 1,
                claim=bindparam("mine"),
                claimed_until=self._end(),
            )
            .returning(turns)
        )

    def _is_free(self) -> ColumnElement[bool]:
        waits = turns.c.state == _waiting
        if self.single_process:
            return waits
        left = and_(turns.c.state == _running, turns.c.claimed_until < self._database.now)
        return or_(waits, left)

    def _end(self) -> ColumnElement[float] | None:
        return None if self.single_process else self._database.now + CLAIM_SECONDS
