"""What has to go after a while: finished turns, voice notes, sessions nobody uses any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

import structlog

from storage.database import Database
from storage.leases import Leases
from storage.outbound_messages import OutboundMessages
from storage.processes import Processes
from storage.store import Store
from turns.agent_sessions import AgentSessions
from turns.health import Health

log = structlog.get_logger(__name__)

INTERVAL = 60.0
LEASE = "housekeeping"
# A turn that found its session just in time may still be asking in it for that long.
GRACE = 300.0
STOP_SECONDS = 1.0
# How many sessions are ended at once: few beside the turns, and yet 2,000 a minute at 0.3 s each.
ENDED_AT_ONCE = 10


class Purgeable(Protocol):
    """A table of what is kept for a while, and up to a bound."""

    def purge(self, *, before: float) -> None: ...


class Cleanup:
    """A thread that tidies up every minute; ``retention`` and ``session_idle`` are seconds."""

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        outbound_messages: OutboundMessages,
        leases: Leases,
        processes: Processes,
        caches: Sequence[Purgeable],
        sessions: AgentSessions,
        health: Health,
        retention: float,
        session_idle: float,
    ) -> None:
        self._database = database
        self._store = store
        self._outbound_messages = outbound_messages
        self._leases = leases
        self._processes = processes
        self._caches = caches
        self._sessions = sessions
        self._health = health
        self._retention = retention
        self._session_idle = session_idle
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; what is under way gets ``STOP_SECONDS``."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def run_once(self) -> None:
        """Delete what is past its time, and end idle sessions at Agentforce.

        Of several processes one does it.
        """
        with self._leases.hold(LEASE) as ours:
            if ours:
                self._tidy()

    def _tidy(self) -> None:
        self._warn()
        old = time.time() - self._retention
        self._leases.purge()
        self._outbound_messages.purge()
        self._processes.purge(before=old)
        for cache in self._caches:
            cache.purge(before=old)
        purged = self._store.purge(before=old)
        if purged:
            log.info("Old turns purged", turns=purged)
        if not self._database.clear_log():
            log.warning("What was purged may still lie in the database's log; trying again")
        idle_since = time.time() - self._session_idle - GRACE
        self._expire(self._store.idle_sessions(idle_since), unused_since=idle_since)

    def _expire(self, senders: list[str], *, unused_since: float) -> None:
        """End the sessions of these senders side by side, which takes up to seconds for each.

        Those that were used since then stay: the list grows old meanwhile.
        """
        left = iter(senders)

        def expire_some() -> None:
            try:
                for sender in left:
                    if self._stopped.is_set():
                        return
                    self._sessions.expire(sender, unused_since=unused_since)
            except Exception:
                log.exception("Idle sessions not ended; trying again in a minute")

        threads = [
            threading.Thread(target=expire_some, name="expire", daemon=True)
            for _ in range(min(ENDED_AT_ONCE, len(senders)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _warn(self) -> None:
        report = self._health.check()
        if report.database and not report.healthy:
            log.error(
                "Turns wait and no worker runs them; start one (heroku ps:scale worker=1)",
                waiting=report.waiting,
                running=report.running,
            )

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            try:
                self.run_once()
            except Exception:
                log.exception("Housekeeping failed; trying again in a minute")
