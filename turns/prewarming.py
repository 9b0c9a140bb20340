"""Sessions started before they are needed: while a message waits, or its recording is heard."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future

import structlog

from core.deadline import Deadline
from core.models import AgentSession
from storage.store import Store
from turns.agent_sessions import AgentSessions

log = structlog.get_logger(__name__)


class Prewarmer:
    """Starts a sender's session beside the path, however many ask for it at once.

    What takes longer than ``limit`` seconds is given up. ``threads`` run turns.
    """

    def __init__(
        self, *, store: Store, sessions: AgentSessions, pool: Executor, limit: float, threads: int
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._threads = threads
        self._pool = pool
        self._limit = limit
        self._lock = threading.Lock()
        self._starting: dict[str, Future[AgentSession]] = {}

    def schedule(self, sender: str) -> None:
        """Start the session before its turn begins; returns at once."""
        self._pool.submit(self._start_ahead, sender)

    def _start_ahead(self, sender: str) -> None:
        """Where all threads run turns, those need the CPU and Agentforce's places."""
        try:
            if self._store.count_unfinished(limit=self._threads + 1) <= self._threads:
                self.prewarm(sender)
        except Exception:
            log.exception("Session not pre-warmed")

    def prewarm(self, sender: str) -> Future[AgentSession]:
        """The session to come, or what keeps it from starting (``AgentError``)."""
        with self._lock:
            if sender in self._starting:
                return self._starting[sender]
            log.info("Pre-warming Agentforce session")
            with Deadline(self._limit).applied():
                session = self._pool.submit(self._sessions.prewarm, sender)
            self._starting[sender] = session
        # Not under the lock, which the callback takes: it may run at once, on this thread.
        session.add_done_callback(lambda _: self._forget(sender))
        return session

    def _forget(self, sender: str) -> None:
        with self._lock:
            del self._starting[sender]
