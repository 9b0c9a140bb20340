"""A pool of sessions at Agentforce that are started before a sender needs one."""

from __future__ import annotations

import threading
import time

import structlog

from agentforce import Agentforce, EndReason
from core.errors import AgentError, DeadlineExceeded
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
        # The outcome of the last start: the seconds that it took, or why it failed.
        self._last_start: float | Exception = 0.0
        self._has_tried = threading.Event()
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

    def last_start(self, timeout: float) -> float | None:
        """The seconds that the last start of a session took; ``None`` if the pool is off.

        Waits for the first one. Raises what the last start raised, such as ``AgentError``, and
        ``DeadlineExceeded`` if the first one takes longer than ``timeout`` seconds.
        """
        if not self._thread.is_alive():
            return None
        if not self._has_tried.wait(timeout):
            raise DeadlineExceeded(f"no session within {timeout:g} s")
        outcome = self._last_start
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

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
                begin = time.monotonic()
                session = self._agent.start(retry=False)
                self._last_start = time.monotonic() - begin
                self._has_tried.set()
                with self._lock:
                    self._sessions.append(session)
                self._metrics.count("sessions_spare_kept")
        except Exception as error:
            self._last_start = error
            self._has_tried.set()
            if isinstance(error, AgentError):
                log.warning("No spare Agentforce session", error=str(error))
            else:
                log.exception("No spare Agentforce session")
            return False
        return True

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
