"""The table ``agent_sessions``: which session at Agentforce each sender has."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Row, bindparam, delete, select, update

from core.models import AgentSession, SessionPrivacy
from storage.database import Database
from storage.schema import agent_sessions

# Built once: building a statement takes as long as executing it.
_FIND = select(agent_sessions).where(agent_sessions.c.sender == bindparam("who"))


class AgentSessionTable:
    """Thread-safe. A change is committed on return; all methods raise ``StorageError``.

    ``tracks_privacy`` says whether ``raise_privacy`` is called with each question. Without that,
    each session counts as private.
    """

    def __init__(self, *, database: Database, tracks_privacy: bool = False) -> None:
        self._database = database
        self._tracks_privacy = tracks_privacy

    def find(self, sender: str) -> AgentSession | None:
        """The sender's session, however old it is."""
        row = self._find(sender)
        if row is None:
            return None
        outdated = row.asked != SessionPrivacy.PRIVATE.value and not self._tracks_privacy
        return AgentSession(row.session_id, row.used_at, outdated)

    def insert(self, sender: str, session: AgentSession) -> bool:
        """Store a new session; ``False`` if the sender has one already."""
        privacy = SessionPrivacy.EMPTY if self._tracks_privacy else SessionPrivacy.PRIVATE
        row = {
            "sender": sender,
            "session_id": session.id,
            "used_at": session.used_at,
            "asked": privacy.value,
        }
        statement = self._database.upsert(agent_sessions).values(row).on_conflict_do_nothing()
        return self._database.row(statement.returning(agent_sessions.c.sender)) is not None

    def privacy(self, sender: str) -> SessionPrivacy:
        """The privacy of the sender's session; ``PRIVATE`` without a session."""
        row = self._find(sender)
        return SessionPrivacy(row.asked) if row else SessionPrivacy.PRIVATE

    def raise_privacy(self, sender: str, privacy: SessionPrivacy) -> None:
        """Store what is asked in the sender's session now; it never becomes less private."""
        lower = [SessionPrivacy.EMPTY.value]
        if privacy is SessionPrivacy.PRIVATE:
            lower.append(SessionPrivacy.PUBLIC.value)
        raised = (agent_sessions.c.sender == sender) & agent_sessions.c.asked.in_(lower)
        self._database.change(update(agent_sessions).where(raised).values(asked=privacy.value))

    def mark_used(self, sender: str, session: AgentSession) -> None:
        """Store that the session is used now, unless the sender has another one or none."""
        values: dict[str, object] = {"used_at": time.time()}
        if not self._tracks_privacy:
            # A process that tracks privacy may have started the session.
            values["asked"] = SessionPrivacy.PRIVATE.value
        self._database.change(
            update(agent_sessions)
            .where(agent_sessions.c.sender == sender, agent_sessions.c.session_id == session.id)
            .values(values)
        )

    def delete(
        self, sender: str, *, only: AgentSession | None = None, unused_since: float | None = None
    ) -> AgentSession | None:
        """Delete the sender's session and return it.

        With ``only``, another session is not deleted. With ``unused_since`` (epoch seconds), a
        session that was used after that time is not deleted.
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

    def find_idle(self, before: float) -> list[str]:
        """The senders whose session was last used before that time (epoch seconds)."""
        wanted = select(agent_sessions.c.sender).where(agent_sessions.c.used_at < before)
        return [row.sender for row in self._database.rows(wanted)]

    def _find(self, sender: str) -> Row[Any] | None:
        return self._database.row(_FIND, {"who": sender})
