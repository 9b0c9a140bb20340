"""What must outlive a thread and the process: turns, agent sessions, preferences."""

from __future__ import annotations

import functools
import time
from dataclasses import asdict
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Insert,
    Integer,
    Row,
    Select,
    Table,
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
from sqlalchemy.exc import SQLAlchemyError

from core.errors import TurnSuperseded
from core.models import AgentSession, Answer, Backlog, Inbound, Kind, Preferences, Turn
from storage.database import Database
from storage.schema import agent_sessions, outbound_messages, preferences, turns

# What every method may raise.
StoreError = SQLAlchemyError

WAITING, RUNNING, DONE, QUARANTINED = "waiting", "running", "done", "set aside"
# Of these only the SID is left.
FORGOTTEN = "forgotten"
UNFINISHED = (WAITING, RUNNING)
FINISHED = (DONE, QUARANTINED)
# How much longer than its text a SID is known. Whoever got hold of a signed webhook can post it at
# any time; most places in which one might be found are kept no longer than a week.
SID_SECONDS = 7 * 86400.0

PURGED_AT_ONCE = 500

# What has been asked in a session so far.
EMPTY, PUBLIC, PRIVATE = "nothing", "public", "personal"
ALWAYS = true()
# More turns than a database holds.
NO_LIMIT = 2**31
# What workers that listen to PostgreSQL hear of.
NEW_TURNS = "new_turns"
# What is known of a turn when its message is written down.
ADMITTED = (
    "message_sid",
    "sender",
    "kind",
    "text",
    "media_url",
    "received_at",
    "state",
    "attempts",
)

# Statements that every turn needs are made once: making one takes as long as carrying it out.
# The row of a turn, so long as nobody else has claimed it; ``claim_parameters`` says which.
OWNED = (
    turns.c.id == bindparam("turn"),
    turns.c.claim.is_not_distinct_from(bindparam("whose", type_=turns.c.claim.type)),
)
_ANSWERED = update(turns).where(*OWNED).values(answer=bindparam("answered"))
_ENDED = update(turns).where(*OWNED).values(state=bindparam("ended"))

# An answer that comes later than this would come out of the blue.
STALE_SECONDS = 600.0


class Store:
    """Thread-safe. What a method wrote is committed when it returns.

    ``room`` is what must hold for a message to be written down, as SQL (``storage/quotas.py``).
    What is written about a turn raises ``TurnSuperseded`` where its claim is another's by now.
    ``keeps_privacy`` is whether ``note_asked`` is told of every question; where it is not, all
    sessions count as personal.
    """

    def __init__(
        self,
        *,
        database: Database,
        keeps_privacy: bool = False,
        room: ColumnElement[bool] = ALWAYS,
    ) -> None:
        self._database = database
        self._notes_asked = keeps_privacy
        self._upsert = database.upsert
        self._putting = functools.cache(self._made_to_put)
        self._admission = self._made_to_admit(room)

    def admit(self, message: Inbound, *, limit: int = NO_LIMIT) -> Turn | None:
        """Write a message down and tell workers elsewhere of it.

        ``None`` if it was written down before, or if there is no room: ``limit`` turns are
        unfinished, say.
        """
        row = {
            "new_message_sid": message.sid,
            "new_sender": message.sender,
            "new_kind": message.kind.value,
            "new_text": message.text,
            "new_media_url": message.media_url,
            "new_received_at": message.received_at,
            "new_state": WAITING,
            "new_attempts": 0,
            "last_place": limit - 1,
        }
        turn_id = self._database.value(self._admission, row)
        return Turn(turn_id, message) if turn_id is not None else None

    def knows(self, message_sid: str) -> bool:
        """Whether the message was written down."""
        wanted = select(turns.c.id).where(turns.c.message_sid == message_sid)
        return self._database.row(wanted) is not None

    def save_answer(self, turn: Turn, answer: Answer) -> None:
        """Keep the answer, so that a restart sends it instead of asking again."""
        self._change(turn, _ANSWERED, answered=asdict(answer))

    def finish(self, turn: Turn, state: str = DONE) -> None:
        self._change(turn, _ENDED, ended=state)

    def has_later(self, turn: Turn) -> bool:
        """Whether the sender has written again, and that is unfinished too."""
        later = select(turns.c.id).where(
            turns.c.sender == turn.message.sender,
            turns.c.id > turn.id,
            turns.c.state.in_(UNFINISHED),
        )
        return self._database.row(later.limit(1)) is not None

    def count_unfinished(self, *, limit: int) -> int:
        """How many turns are unfinished; counts no further than ``limit``."""
        some = select(turns.c.id).where(turns.c.state.in_(UNFINISHED)).limit(limit).subquery()
        return int(self._database.value(select(func.count()).select_from(some)))

    def backlog(self) -> Backlog:
        """What is left to do at the moment."""
        waits, runs = turns.c.state == WAITING, turns.c.state == RUNNING
        first = select(turns.c.received_at).where(waits).order_by(turns.c.id).limit(1)
        wanted = select(
            func.count().filter(waits).label("waiting"),
            func.count().filter(runs).label("running"),
            first.scalar_subquery().label("oldest"),
        ).where(turns.c.state.in_(UNFINISHED))
        row = self._database.run(lambda connection: connection.execute(wanted).one())
        return Backlog(row.waiting, row.running, row.oldest)

    def session(self, sender: str) -> AgentSession | None:
        row = self._find(agent_sessions, sender)
        if row is None:
            return None
        to_note = row.asked != PRIVATE and not self._notes_asked
        return AgentSession(row.session_id, row.used_at, to_note)

    def save_session(self, sender: str, session: AgentSession) -> bool:
        """Keep a new session, in which nothing has been asked yet, unless the sender has one."""
        row = {
            "sender": sender,
            "session_id": session.id,
            "used_at": session.used_at,
            "asked": EMPTY if self._notes_asked else PRIVATE,
        }
        new = self._upsert(agent_sessions).values(row).on_conflict_do_nothing()
        return self._database.row(new.returning(agent_sessions.c.sender)) is not None

    def asked(self, sender: str) -> str:
        """What has been asked in the sender's session; ``PRIVATE`` where there is none."""
        row = self._find(agent_sessions, sender)
        return row.asked if row else PRIVATE

    def note_asked(self, sender: str, what: str) -> None:
        """Note what is asked in the sender's session; one that is personal stays so."""
        lesser = (EMPTY,) if what == PUBLIC else (EMPTY, PUBLIC)
        ours = (agent_sessions.c.sender == sender) & agent_sessions.c.asked.in_(lesser)
        self._database.change(update(agent_sessions).where(ours).values(asked=what))

    def use_session(self, sender: str, session: AgentSession) -> None:
        """Note that it is used now, unless the sender has another one, or none, by now."""
        values: dict[str, object] = {"used_at": time.time()}
        if not self._notes_asked:
            # It may have begun in a process that notes what is asked; we ask anything in it.
            values["asked"] = PRIVATE
        self._database.change(
            update(agent_sessions)
            .where(agent_sessions.c.sender == sender, agent_sessions.c.session_id == session.id)
            .values(values)
        )

    def drop_session(
        self, sender: str, *, only: AgentSession | None = None, unused_since: float | None = None
    ) -> AgentSession | None:
        """Forget the sender's session and return it.

        Where that is another than ``only``, or it was used since then, it stays.
        """
        wanted = [agent_sessions.c.sender == sender]
        if only:
            wanted.append(agent_sessions.c.session_id == only.id)
        if unused_since is not None:
            wanted.append(agent_sessions.c.used_at < unused_since)
        statement = (
            delete(agent_sessions)
            .where(*wanted)
            .returning(agent_sessions.c.session_id, agent_sessions.c.used_at)
        )
        row = self._database.row(statement)
        return AgentSession(row.session_id, row.used_at) if row else None

    def idle_sessions(self, before: float) -> list[str]:
        """The senders whose sessions were last used before that time."""
        wanted = select(agent_sessions.c.sender).where(agent_sessions.c.used_at < before)
        return [row.sender for row in self._database.rows(wanted)]

    def preferences(self, sender: str) -> Preferences:
        row = self._find(preferences, sender)
        return Preferences(row.voice, row.language, row.used_at) if row else Preferences()

    def prefer_voice(self, sender: str, voice: bool) -> None:
        self._put(preferences, sender, voice=voice, used_at=time.time())

    def remember_language(self, sender: str, language: str) -> None:
        self._put(preferences, sender, language=language, used_at=time.time())

    def purge(self, *, before: float) -> int:
        """Forget finished turns received before that time, and preferences unused since.

        Of a turn its SID is left for ``SID_SECONDS``. Returns how many turns were forgotten.
        """
        self._database.change(delete(preferences).where(preferences.c.used_at < before))
        # Not by its state: that would be looked for among all that are known.
        unknown = turns.c.state.not_in(UNFINISHED) & (turns.c.received_at < before - SID_SECONDS)
        while self._database.change(delete(turns).where(turns.c.id.in_(_some(unknown)))):
            pass
        old = turns.c.state.in_(FINISHED) & (turns.c.received_at < before)
        forgotten = 0
        while some := self._database.run(functools.partial(_forget, old)):
            forgotten += some
        return forgotten

    def _made_to_admit(self, room: ColumnElement[bool]) -> Executable:
        """What writes a message down, in one statement, and gives the id of its turn."""
        new = select(*(bindparam(f"new_{name}", type_=turns.c[name].type) for name in ADMITTED))
        last = bindparam("last_place", type_=Integer)
        full = select(turns.c.id).where(turns.c.state.in_(UNFINISHED)).limit(1).offset(last)
        admission = (
            self._upsert(turns)
            .from_select(ADMITTED, new.where(room, not_(full.exists())))
            .on_conflict_do_nothing()
            .returning(turns.c.id)
        )
        if self._database.engine.dialect.name != "postgresql":
            return cast(Executable, admission)
        admitted = admission.cte("admitted")
        return select(admitted.c.id, func.pg_notify(NEW_TURNS, ""))

    def _change(self, turn: Turn, change: Update, **values: object) -> None:
        if not self._database.change(change, values | claim_parameters(turn)):
            raise TurnSuperseded

    def _find(self, table: Table, sender: str) -> Row[Any] | None:
        return self._database.row(_of_sender(table), {"who": sender})

    def _put(self, table: Table, sender: str, **values: object) -> None:
        self._database.change(self._putting(table, *values), {"sender": sender, **values})

    def _made_to_put(self, table: Table, *names: str) -> Insert:
        """What writes these columns of a sender's row, which may have to be made."""
        statement = self._upsert(table)
        written = {name: statement.excluded[name] for name in names}
        return cast(
            Insert, statement.on_conflict_do_update(index_elements=["sender"], set_=written)
        )


def _some(condition: ColumnElement[bool]) -> Select[Any]:
    """The ids of so many turns that nobody waits long while they are purged."""
    return select(turns.c.id).where(condition).limit(PURGED_AT_ONCE)


def _forget(old: ColumnElement[bool], connection: Connection) -> int:
    """Leave but the SIDs of some old turns; of how many."""
    ids = connection.execute(_some(old)).scalars().all()
    connection.execute(delete(outbound_messages).where(outbound_messages.c.turn_id.in_(ids)))
    words: dict[str, Any] = {"sender": "", "text": "", "media_url": "", "answer": null()}
    words |= {"claim": null(), "state": FORGOTTEN}
    connection.execute(update(turns).where(turns.c.id.in_(ids)).values(words))
    return len(ids)


def claim_parameters(turn: Turn) -> dict[str, object]:
    """The parameters of ``OWNED``."""
    return {"turn": turn.id, "whose": turn.claim}


@functools.cache
def _of_sender(table: Table) -> Select[Any]:
    return select(table).where(table.c.sender == bindparam("who"))


def turn_from_row(row: Row[Any]) -> Turn:
    """The turn that a row of ``turns`` holds."""
    message = Inbound(
        sid=row.message_sid,
        sender=row.sender,
        kind=Kind(row.kind),
        text=row.text,
        media_url=row.media_url,
        received_at=row.received_at,
    )
    answer = Answer(**row.answer) if row.answer else None
    return Turn(row.id, message, row.attempts, answer, row.claim)
