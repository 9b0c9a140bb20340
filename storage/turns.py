"""The table ``turns``: each message that was accepted, and how far its turn has come."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Integer,
    Row,
    Select,
    Update,
    bindparam,
    delete,
    func,
    not_,
    null,
    select,
    true,
    update,
)

from core.errors import TurnSuperseded
from core.models import Answer, Attachment, Backlog, Inbound, Kind, Outcome, Turn
from storage.database import Database
from storage.schema import outbound_messages, turn_sender, turns

# The states of a turn. An abandoned turn got no answer of the agent, because its process died
# again and again, or because it came too late. A forgotten turn has nothing left but its SID.
WAITING, RUNNING, DONE, ABANDONED = "waiting", "running", "done", "set aside"
FORGOTTEN = "forgotten"
UNFINISHED = (WAITING, RUNNING)
FINISHED = (DONE, ABANDONED)

# A SID is stored for this long after the text of the message was deleted. A signed webhook that
# somebody finds, for example in a log, can be posted again; most logs are deleted within a week.
SID_SECONDS = 7 * 86400.0
# Answers older than this are not sent, because the sender would not know what they belong to.
STALE_SECONDS = 600.0
PURGE_BATCH = 500

# More turns than a database can hold.
NO_LIMIT = 2**31
# The channel on which workers listen for new turns, with PostgreSQL's LISTEN.
NEW_TURNS = "new_turns"

_INSERTED = (
    "message_sid",
    "sender",
    "external_user_id",
    "kind",
    "text",
    "media_url",
    "attachment",
    "received_at",
    "state",
    "attempts",
)

# Statements that each turn needs are built once: building one takes as long as executing it.
# OWNED selects the row of a turn as long as its claim is still the caller's;
# ``claim_parameters`` fills in its values.
OWNED = (
    turns.c.id == bindparam("turn"),
    turns.c.claim.is_not_distinct_from(bindparam("whose", type_=turns.c.claim.type)),
)
_SAVE_ANSWER = (
    update(turns)
    .where(*OWNED)
    .values(answer=bindparam("new_answer"), outcome=bindparam("new_outcome"))
)
_FINISH = update(turns).where(*OWNED).values(state=bindparam("new_state"))


class TurnTable:
    """Thread-safe. A change is committed when the method returns.

    ``admission`` is an SQL condition that must hold for a message to be accepted
    (``storage/quotas.py``). All methods raise ``StorageError``. ``save_answer`` and ``finish``
    also raise ``TurnSuperseded``, when another process has claimed the turn in the meantime.
    """

    def __init__(self, *, database: Database, admission: ColumnElement[bool] | None = None) -> None:
        self._database = database
        self._insert = self._build_insert(true() if admission is None else admission)

    def insert(self, message: Inbound, *, limit: int = NO_LIMIT) -> Turn | None:
        """Store a message as a waiting turn, and notify workers that listen.

        Returns ``None`` if the message is stored already, if the admission condition does not
        hold, or if ``limit`` turns are unfinished.
        """
        row = {
            "new_message_sid": message.sid,
            "new_sender": message.reply_address,
            "new_external_user_id": external_user_id(message),
            "new_kind": message.kind.value,
            "new_text": message.text,
            "new_media_url": message.media_url,
            "new_attachment": message.attachment.value if message.attachment else None,
            "new_received_at": message.received_at,
            "new_state": WAITING,
            "new_attempts": 0,
            "last_slot": limit - 1,
        }
        turn_id = self._database.value(self._insert, row)
        return Turn(turn_id, message) if turn_id is not None else None

    def contains(self, message_sid: str) -> bool:
        """Whether a message with this SID was stored before."""
        wanted = select(turns.c.id).where(turns.c.message_sid == message_sid)
        return self._database.row(wanted) is not None

    def save_answer(self, turn: Turn, answer: Answer) -> None:
        """Store the answer, so that a restart sends it instead of asking the agent again."""
        columns = answer_columns(answer)
        self._change(
            turn, _SAVE_ANSWER, new_answer=columns["answer"], new_outcome=columns["outcome"]
        )

    def finish(self, turn: Turn, state: str = DONE) -> None:
        """Set the final state of a turn."""
        self._change(turn, _FINISH, new_state=state)

    def has_later(self, turn: Turn, *, before: float) -> bool:
        """Whether the sender has a later unfinished turn, received before that time."""
        later = select(turns.c.id).where(
            turn_sender == turn.message.sender,
            turns.c.id > turn.id,
            turns.c.received_at < before,
            turns.c.state.in_(UNFINISHED),
        )
        return self._database.row(later.limit(1)) is not None

    def count_unfinished(self, *, limit: int) -> int:
        """How many turns are unfinished; stops counting at ``limit``."""
        some = select(turns.c.id).where(turns.c.state.in_(UNFINISHED)).limit(limit).subquery()
        return int(self._database.value(select(func.count()).select_from(some)))

    def backlog(self) -> Backlog:
        """The numbers of waiting and running turns at this moment."""
        waits, runs = turns.c.state == WAITING, turns.c.state == RUNNING
        first = select(turns.c.received_at).where(waits).order_by(turns.c.id).limit(1)
        wanted = select(
            func.count().filter(waits).label("waiting"),
            func.count().filter(runs).label("running"),
            first.scalar_subquery().label("oldest"),
        ).where(turns.c.state.in_(UNFINISHED))
        row = self._database.run(lambda connection: connection.execute(wanted).one())
        return Backlog(row.waiting, row.running, row.oldest)

    def purge(self, *, before: float) -> int:
        """Delete the contents of finished turns that were received before that time.

        Their SIDs are deleted ``SID_SECONDS`` later. Returns the number of turns cleared.
        """
        # The state is compared as "not unfinished" because the index covers unfinished turns only.
        expired = turns.c.state.not_in(UNFINISHED) & (turns.c.received_at < before - SID_SECONDS)
        while self._database.change(delete(turns).where(turns.c.id.in_(_batch(expired)))):
            pass
        old = turns.c.state.in_(FINISHED) & (turns.c.received_at < before)
        purged = 0
        while batch := self._database.run(functools.partial(_clear_batch, old)):
            purged += batch
        return purged

    def _build_insert(self, admission: ColumnElement[bool]) -> Executable:
        """One statement that stores a message if it may, and returns the id of its turn."""
        new = select(*(bindparam(f"new_{name}", type_=turns.c[name].type) for name in _INSERTED))
        last = bindparam("last_slot", type_=Integer)
        full = select(turns.c.id).where(turns.c.state.in_(UNFINISHED)).limit(1).offset(last)
        insert = (
            self._database.upsert(turns)
            .from_select(_INSERTED, new.where(admission, not_(full.exists())))
            .on_conflict_do_nothing()
            .returning(turns.c.id)
        )
        if self._database.engine.dialect.name != "postgresql":
            return cast(Executable, insert)
        inserted = insert.cte("inserted")
        return select(inserted.c.id, func.pg_notify(NEW_TURNS, ""))

    def _change(self, turn: Turn, statement: Update, **values: object) -> None:
        if not self._database.change(statement, values | claim_parameters(turn)):
            raise TurnSuperseded


def claim_parameters(turn: Turn) -> dict[str, object]:
    """The parameters of ``OWNED``."""
    return {"turn": turn.id, "whose": turn.claim}


def answer_columns(answer: Answer) -> dict[str, Any]:
    """The columns of ``turns`` that store an answer."""
    saved = asdict(answer)
    # It has a column of its own: processes of an earlier release would fail on another key.
    outcome = saved.pop("outcome")
    return {"answer": saved, "outcome": outcome.value}


def external_user_id(message: Inbound) -> str | None:
    """The user id of a message's sender, if it is not the address."""
    return message.sender if message.reply_address != message.sender else None


def turn_from_row(row: Row[Any]) -> Turn:
    """The turn that a row of ``turns`` stores."""
    message = Inbound(
        sid=row.message_sid,
        sender=row.external_user_id or row.sender,
        kind=Kind(row.kind),
        text=row.text,
        media_url=row.media_url,
        received_at=row.received_at,
        address=row.sender if row.external_user_id else "",
        attachment=Attachment(row.attachment) if row.attachment else None,
    )
    outcome = Outcome(row.outcome) if row.outcome else Outcome.ANSWER
    answer = Answer(**row.answer, outcome=outcome) if row.answer else None
    return Turn(row.id, message, row.attempts, answer, row.claim)


def _batch(condition: ColumnElement[bool]) -> Select[Any]:
    """Selects the ids of a few turns, so that other statements do not wait long for this one."""
    return select(turns.c.id).where(condition).limit(PURGE_BATCH)


def _clear_batch(old: ColumnElement[bool], connection: Connection) -> int:
    """Delete the contents of a few old turns; returns how many they are."""
    ids = connection.execute(_batch(old)).scalars().all()
    connection.execute(delete(outbound_messages).where(outbound_messages.c.turn_id.in_(ids)))
    cleared: dict[str, Any] = {"sender": "", "text": "", "media_url": "", "answer": null()}
    cleared |= {"external_user_id": null(), "attachment": null()}
    cleared |= {"claim": null(), "state": FORGOTTEN}
    connection.execute(update(turns).where(turns.c.id.in_(ids)).values(cleared))
    return len(ids)
