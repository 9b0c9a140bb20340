"""A pool of sessions at Agentforce that are started before a sender needs one."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import structlog

from agentforce import Agentforce, EndReason
from core.errors import AgentError
from core.models import AgentSession
from metrics import Metrics

log = structlog.get_logger(__name__)

# How often old sessions are replaced, and how soon a failed start is repeated.
LOOK_SECONDS = 60.0


class SessionPool:
    """A thread that keeps ``number`` sessions ready that belong to no sender yet.

    A session that nobody took within ``lifetime`` seconds is ended, before Agentforce does that.
    """

    def __init__(
        self, *, agent: Agentforce, metrics: Metrics, number: int, lifetime: float
    ) -> None:
        self._agent = agent
        self._metrics = metrics
        self._number = number
        self._lifetime = lifetime
        self._lock = threading.Lock()
        self._sessions: list[AgentSession] = []
        # Done when a session was started or refused for the first time.
        self._first: Future[None] = Future()
        self._stopped = threading.Event()
        # Set when a session is taken, so that it is replaced at once.
        self._taken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session pool", daemon=True)

    def start(self) -> None:
        if self._number:
            self._thread.start()

    def take(self) -> AgentSession | None:
        """A session for the caller alone, or ``None`` if there is none; does not wait."""
        with self._lock:
            young = [session for session in self._sessions if self._is_young(session)]
            if not young or self._stopped.is_set():
                return None
            self._sessions.remove(young[0])
        self._taken.set()
        self._metrics.count("sessions_spare_used")
        return young[0]

    def await_first(self, timeout: float) -> bool:
        """Wait for the first session; ``False`` if there is none in time, or the pool is off.

        Raises ``AgentError`` if it was refused.
        """
        if not self._thread.is_alive():
            return False
        try:
            self._first.result(timeout)
        except TimeoutError:
            return False
        return True

    def stop(self) -> None:
        """Give out no more sessions, and end the rest on the thread of the pool."""
        self._stopped.set()
        self._taken.set()

    def join(self, timeout: float) -> None:
        """Wait until the sessions are ended."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._taken.clear()
            self._end(self._remove(only_old=True), "Expiration")
            if self._fill():
                self._taken.wait(LOOK_SECONDS)
            else:
                self._stopped.wait(LOOK_SECONDS)
        self._end(self._remove(only_old=False), "Other")

    def _fill(self) -> bool:
        """Start the missing sessions; ``False`` if that fails."""
        try:
            while len(self._sessions) < self._number and not self._stopped.is_set():
                session = self._agent.start(retry=False)
                with self._lock:
                    self._sessions.append(session)
                self._metrics.count("sessions_spare_kept")
                self._settle_first(None)
        except AgentError as error:
            self._settle_first(error)
            log.warning("No spare Agentforce session", error=str(error))
            return False
        except Exception:
            log.exception("No spare Agentforce session")
            return False
        return True

    def _settle_first(self, error: AgentError | None) -> None:
        if self._first.done():
            return
        if error is None:
            self._first.set_result(None)
        else:
            self._first.set_exception(error)

    def _remove(self, *, only_old: bool) -> list[AgentSession]:
        """Remove the sessions that are too old, or all of them, and return them."""
        with self._lock:
            removed = [each for each in self._sessions if not (only_old and self._is_young(each))]
            self._sessions = [each for each in self._sessions if each not in removed]
        return removed

    def _end(self, sessions: list[AgentSession], reason: EndReason) -> None:
        for session in sessions:
            self._agent.end(session, reason)

    def _is_young(self, session: AgentSession) -> bool:
        return time.time() - session.used_at < self._lifetime
