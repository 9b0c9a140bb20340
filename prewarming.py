"""Sessions started before they are needed: while a message waits, or its recording is heard."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future

from agent_sessions import AgentSessions
from deadline import Deadline
from store import AgentSession


class Prewarmer:
    """Starts a sender's session beside the path, however many ask for it at once.

    What takes longer than ``limit`` seconds is given up.
    """

    def __init__(self, *, sessions: AgentSessions, pool: Executor, limit: float) -> None:
        self._sessions = sessions
        self._pool = pool
        self._limit = limit
        self._lock = threading.Lock()
        self._starting: dict[str, Future[AgentSession]] = {}

    def start(self, sender: str) -> Future[AgentSession]:
        """The session to come, or what keeps it from starting (``AgentError``)."""
        with self._lock:
            if sender in self._starting:
                return self._starting[sender]
            with Deadline(self._limit).bound():
                session = self._pool.submit(self._sessions.warm, sender)
            self._starting[sender] = session
        # Not under the lock, which the callback takes: it may run at once, on this thread.
        session.add_done_callback(lambda _: self._forget(sender))
        return session

    def _forget(self, sender: str) -> None:
        with self._lock:
            del self._starting[sender]
