"""Which session at Agentforce each sender has, and for how long.

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
from storage.leases import Leases
from storage.store import Store, StoreError
from turns.session_pool import SessionPool

log = structlog.get_logger(__name__)

# How often those look who wait for another process to start a session: seldomer with each time.
LOOK_SECONDS = 0.05
LONGEST_LOOK_SECONDS = 0.5
# A session in use is noted so before a question, lest it be ended as idle meanwhile; and not more
# often than this, nor than in a tenth of the time after which it counts as idle.
TOUCH_SECONDS = 60.0


class AgentSessions:
    """Requests of one sender must come one at a time (docs/providers/agentforce.md, "Limits").

    ``idle`` is after how many seconds a session is not used again.
    """

    def __init__(
        self,
        *,
        agent: Agentforce,
        session_pool: SessionPool,
        store: Store,
        leases: Leases,
        metrics: Metrics,
        background: Executor,
        idle: float,
    ) -> None:
        self._agent = agent
        self._session_pool = session_pool
        self._store = store
        self._leases = leases
        self._metrics = metrics
        self._background = background
        self._idle = idle
        self._touch = min(TOUCH_SECONDS, idle / 10)

    def prewarm(self, sender: str) -> AgentSession:
        """The sender's session, a new one if there is none or it has idled too long.

        Where another process is starting it, that one's is waited for. Raises ``AgentError``.
        """
        return self._session(sender, spare=True)

    def ask(
        self, sender: str, session: AgentSession, text: str, listener: AnswerListener | None = None
    ) -> AgentReply:
        """Ask in the sender's session; where Agentforce has forgotten it, in a new one.

        The question is repeated only when it surely was not heard. ``listener`` follows the answer
        while it is written. Raises ``AgentError``.
        """
        try:
            reply = self._agent.ask(session, text, listener)
        except SessionGone:
            log.info("Agentforce session gone; starting another")
            self._store.drop_session(sender, only=session)
            self._metrics.count("sessions_renewed")
            # It may have been a spare one, and others be as old.
            session = self._session(sender, spare=False)
            reply = self._agent.ask(session, text, listener)
        self._remember(sender, session, reply)
        return reply

    def end(self, sender: str, reason: EndReason) -> None:
        """End the sender's session, if there is one."""
        if session := self._store.drop_session(sender):
            self._agent.end(session, reason)

    def expire(self, sender: str, *, unused_since: float) -> None:
        """End the sender's session unless it was used since then (epoch seconds)."""
        if session := self._store.drop_session(sender, unused_since=unused_since):
            self._agent.end(session, "Expiration")

    def _session(self, sender: str, *, spare: bool) -> AgentSession:
        pause = LOOK_SECONDS
        while True:
            if session := self._usable(sender, self._store.session(sender)):
                return session
            with self._leases.hold(f"session of {sender}") as ours:
                if ours and (session := self._renewed(sender, spare=spare)):
                    return session
            time.sleep(clamp(pause))
            pause = min(pause * 2, LONGEST_LOOK_SECONDS)

    def _renewed(self, sender: str, *, spare: bool) -> AgentSession | None:
        """The sender's session; ``None`` where it is to be looked up again."""
        known = self._store.session(sender)
        return self._usable(sender, known) or self._new(sender, known, spare=spare)

    def _usable(self, sender: str, session: AgentSession | None) -> AgentSession | None:
        """The sender's session unless it has idled too long; from now on it is in use."""
        unused = time.time() - session.used_at if session else 0.0
        if session is None or unused >= self._idle:
            return None
        if unused <= self._touch and not session.privacy_outdated:
            return session
        self._store.use_session(sender, session)
        return AgentSession(session.id, time.time())

    def _new(self, sender: str, idled: AgentSession | None, *, spare: bool) -> AgentSession | None:
        if idled and self._store.drop_session(sender, only=idled):
            self._metrics.count("sessions_renewed")
            self._background.submit(self._agent.end, idled, "Expiration")
        started = (spare and self._session_pool.take()) or self._agent.start()
        session = AgentSession(started.id, time.time())
        return session if self._kept(sender, session) else None

    def _kept(self, sender: str, session: AgentSession) -> bool:
        """Whether this is the sender's session now; otherwise it is ended, for nobody knows it.

        Another process may have taken over while we started it.
        """
        kept = False
        try:
            kept = self._store.save_session(sender, session)
        finally:
            if not kept:
                self._background.submit(self._agent.end, session, "Other")
        return kept

    def _remember(self, sender: str, session: AgentSession, reply: AgentReply) -> None:
        """Note the session's use; a database that fails now must not make us ask again."""
        try:
            if reply.ended:
                self._store.drop_session(sender, only=session)
            elif time.time() - session.used_at > self._touch:
                self._store.use_session(sender, session)
        except StoreError as error:
            log.error("Agentforce session not noted", error=type(error).__name__)
