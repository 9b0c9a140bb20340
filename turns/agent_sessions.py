"""Starts, reuses and ends the session that each sender has at Agentforce.

docs/providers/agentforce.md, "Session lifetime".
"""

from __future__ import annotations

import time
from concurrent.futures import Executor

import structlog

from agentforce import Agentforce, AnswerListener, EndReason, SessionGone
from core.deadline import clamp
from core.models import AgentReply, AgentSession
from metrics import Metrics
from storage.agent_sessions import AgentSessionTable
from storage.database import StorageError
from storage.leases import Leases
from turns.session_pool import SessionPool

log = structlog.get_logger(__name__)

# While another process starts a sender's session, we look for it in the database after these
# seconds. Each pause is twice the one before.
FIRST_PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 0.5
# Before a question, the time of use is stored, so that the cleanup does not end the session while
# the agent answers. To save writes that happens only after so many seconds, or after a tenth of
# the idle time.
TOUCH_SECONDS = 60.0


class AgentSessions:
    """Thread-safe, but one sender's questions must be asked one after the other.

    docs/providers/agentforce.md, "Limits". A session that was not used for ``idle`` seconds is
    ended, and a new one is started.
    """

    def __init__(
        self,
        *,
        agent: Agentforce,
        session_pool: SessionPool,
        table: AgentSessionTable,
        leases: Leases,
        metrics: Metrics,
        background: Executor,
        idle: float,
    ) -> None:
        self._agent = agent
        self._session_pool = session_pool
        self._table = table
        self._leases = leases
        self._metrics = metrics
        self._background = background
        self._idle = idle
        self._touch = min(TOUCH_SECONDS, idle / 10)

    def prewarm(self, sender: str) -> AgentSession:
        """The sender's session. A new one is started if there is none or it was idle too long.

        If another process is starting it, this waits for that. Raises ``AgentError``.
        """
        return self._get_or_start(sender, use_pool=True)

    def ask(
        self, sender: str, session: AgentSession, text: str, listener: AnswerListener | None = None
    ) -> AgentReply:
        """Ask in the sender's session, or in a new one if Agentforce does not know it any more.

        The question is repeated only if Agentforce surely did not process it. ``listener`` gets
        the answer while it is written. Raises ``AgentError``.
        """
        try:
            reply = self._agent.ask(session, text, listener)
        except SessionGone:
            log.info("Agentforce session gone; starting another")
            self._table.delete(sender, only=session)
            self._metrics.count("sessions_renewed")
            # If the session came from the pool, the other sessions of the pool may be gone too.
            session = self._get_or_start(sender, use_pool=False)
            reply = self._agent.ask(session, text, listener)
        self._save_use(sender, session, reply)
        return reply

    def end(self, sender: str, reason: EndReason) -> None:
        """End the sender's session, if there is one."""
        if session := self._table.delete(sender):
            self._agent.end(session, reason)

    def expire(self, sender: str, *, unused_since: float) -> None:
        """End the sender's session unless it was used since then (epoch seconds)."""
        if session := self._table.delete(sender, unused_since=unused_since):
            self._agent.end(session, "Expiration")

    def _get_or_start(self, sender: str, *, use_pool: bool) -> AgentSession:
        pause = FIRST_PAUSE_SECONDS
        while True:
            if session := self._reuse(sender, self._table.find(sender)):
                return session
            with self._leases.hold(f"session of {sender}") as acquired:
                if acquired and (session := self._start_once(sender, use_pool=use_pool)):
                    return session
            time.sleep(clamp(pause))
            pause = min(pause * 2, MAX_PAUSE_SECONDS)

    def _start_once(self, sender: str, *, use_pool: bool) -> AgentSession | None:
        """Start the sender's session while we hold the lease; ``None``: it must be repeated."""
        # Another process may have started it before we got the lease.
        known = self._table.find(sender)
        return self._reuse(sender, known) or self._start(sender, known, use_pool=use_pool)

    def _reuse(self, sender: str, session: AgentSession | None) -> AgentSession | None:
        """The stored session, marked as used, unless it was idle too long."""
        unused = time.time() - session.used_at if session else 0.0
        if session is None or unused >= self._idle:
            return None
        if unused <= self._touch and not session.privacy_outdated:
            return session
        self._table.mark_used(sender, session)
        return AgentSession(session.id, time.time())

    def _start(
        self, sender: str, idle_session: AgentSession | None, *, use_pool: bool
    ) -> AgentSession | None:
        if idle_session and self._table.delete(sender, only=idle_session):
            self._metrics.count("sessions_renewed")
            self._background.submit(self._agent.end, idle_session, "Expiration")
        started = (use_pool and self._session_pool.take()) or self._agent.start()
        session = AgentSession(started.id, time.time())
        return session if self._save_or_end(sender, session) else None

    def _save_or_end(self, sender: str, session: AgentSession) -> bool:
        """Store the new session; end it if the sender has another one by now.

        Another process may have taken the lease over while we started the session.
        """
        saved = False
        try:
            saved = self._table.insert(sender, session)
            self._metrics.count("conversations", int(saved))
        finally:
            if not saved:
                self._background.submit(self._agent.end, session, "Other")
        return saved

    def _save_use(self, sender: str, session: AgentSession, reply: AgentReply) -> None:
        """Store that the session was used. We have the answer, so a failure is only logged."""
        try:
            if reply.ended:
                self._table.delete(sender, only=session)
            elif time.time() - session.used_at > self._touch:
                self._table.mark_used(sender, session)
        except StorageError as error:
            log.error("The use of the Agentforce session is not stored", error=type(error).__name__)
