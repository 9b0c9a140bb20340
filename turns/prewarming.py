"""Starts sessions at Agentforce before they are needed, while other work is done."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future

import structlog

from core.deadline import Deadline
from core.models import AgentSession
from storage.turns import TurnTable
from turns.agent_sessions import AgentSessions

log = structlog.get_logger(__name__)


class Prewarmer:
    """Starts each sender's session once, however many callers ask for it at the same time.

    A start is given up after ``limit`` seconds. ``threads`` is the number of turns that can run at
    once.
    """

    def __init__(
        self,
        *,
        turns: TurnTable,
        sessions: AgentSessions,
        pool: Executor,
        limit: float,
        threads: int,
    ) -> None:
        self._turns = turns
        self._sessions = sessions
        self._threads = threads
        self._pool = pool
        self._limit = limit
        self._lock = threading.Lock()
        self._starting: dict[str, Future[AgentSession]] = {}

    def schedule(self, sender: str) -> None:
        """Start the session in the background, before the sender's turn begins."""
        self._pool.submit(self._prewarm_if_idle, sender)

    def prewarm(self, sender: str) -> Future[AgentSession]:
        """The session that is being started; the future raises ``AgentError`` if that fails."""
        with self._lock:
            if sender in self._starting:
                return self._starting[sender]
            log.info("Pre-warming Agentforce session")
            with Deadline(self._limit).applied():
                session = self._pool.submit(self._sessions.prewarm, sender)
            self._starting[sender] = session
        # Outside of the lock: the callback may run at once, on this thread, and needs the lock.
        session.add_done_callback(lambda _: self._remove(sender))
        return session

    def _prewarm_if_idle(self, sender: str) -> None:
        """Start the session, unless turns wait: running turns need the CPU and Agentforce first."""
        try:
            if self._turns.count_unfinished(limit=self._threads + 1) <= self._threads:
                self.prewarm(sender)
        except Exception:
            log.exception("Session not pre-warmed")

    def _remove(self, sender: str) -> None:
        with self._lock:
            del self._starting[sender]
