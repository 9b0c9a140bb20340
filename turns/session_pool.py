"""Sessions at Agentforce that were started before somebody needs one."""

from __future__ import annotations

import threading
import time

import structlog

from agentforce import Agentforce, EndReason
from core.errors import AgentError
from core.models import AgentSession
from metrics import Metrics

log = structlog.get_logger(__name__)

# How often those that got too old are looked for, and a start that failed is tried again.
LOOK_SECONDS = 60.0


class SessionPool:
    """A thread that keeps ``number`` sessions of no sender at hand.

    One that nobody took for ``lifetime`` seconds is ended: Agentforce may be about to.
    """

    def __init__(
        self, *, agent: Agentforce, metrics: Metrics, number: int, lifetime: float
    ) -> None:
        self._agent = agent
        self._metrics = metrics
        self._number = number
        self._lifetime = lifetime
        self._lock = threading.Lock()
        self._kept: list[AgentSession] = []
        self._stopped = threading.Event()
        # Set by whoever takes one, so that it is replaced at once.
        self._taken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spare sessions", daemon=True)

    def start(self) -> None:
        if self._number:
            self._thread.start()

    def take(self) -> AgentSession | None:
        """A session that is nobody else's, or ``None``; never waits."""
        with self._lock:
            young = [session for session in self._kept if self._is_young(session)]
            if not young or self._stopped.is_set():
                return None
            self._kept.remove(young[0])
        self._taken.set()
        self._metrics.count("sessions_spare_used")
        return young[0]

    def stop(self) -> None:
        """Give none away any more, and end those that are left, beside the caller."""
        self._stopped.set()
        self._taken.set()

    def join(self, timeout: float) -> None:
        """Wait until those that were left are ended."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._taken.clear()
            self._end(self._withdrawn(too_old=True), "Expiration")
            if self._filled():
                self._taken.wait(LOOK_SECONDS)
            else:
                self._stopped.wait(LOOK_SECONDS)
        self._end(self._withdrawn(too_old=False), "Other")

    def _filled(self) -> bool:
        """Start what is missing; ``False`` where that fails."""
        try:
            while len(self._kept) < self._number and not self._stopped.is_set():
                session = self._agent.start(patient=False)
                with self._lock:
                    self._kept.append(session)
                self._metrics.count("sessions_spare_kept")
        except AgentError as error:
            log.warning("No spare Agentforce session", error=str(error))
            return False
        except Exception:
            log.exception("No spare Agentforce session")
            return False
        return True

    def _withdrawn(self, *, too_old: bool) -> list[AgentSession]:
        """Those that got too old, or all; nobody gets them any more."""
        with self._lock:
            gone = [each for each in self._kept if not (too_old and self._is_young(each))]
            self._kept = [each for each in self._kept if each not in gone]
        return gone

    def _end(self, sessions: list[AgentSession], reason: EndReason) -> None:
        for session in sessions:
            self._agent.end(session, reason)

    def _is_young(self, session: AgentSession) -> bool:
        return time.time() - session.used_at < self._lifetime
