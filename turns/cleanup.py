"""Deletes data after its retention time, and ends idle sessions at Agentforce."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

import structlog

from storage.agent_sessions import AgentSessionTable
from storage.database import Database
from storage.leases import Leases
from storage.turns import TurnTable
from turns.agent_sessions import AgentSessions
from turns.health import Health

log = structlog.get_logger(__name__)

INTERVAL = 60.0
LEASE = "housekeeping"
# A turn that found its session just before it became idle may still use it for this time.
GRACE = 300.0
STOP_SECONDS = 1.0
# How many sessions are ended in parallel. So few hardly slow turns down, and at 0.3 s each, 2,000
# are ended in a minute.
ENDED_AT_ONCE = 10


class Retained(Protocol):
    """A table whose rows are deleted when they are older than the retention time."""

    def purge(self, *, before: float) -> object: ...


class Expiring(Protocol):
    """A table that knows itself until when its rows are needed."""

    def purge(self) -> object: ...


class Cleanup:
    """A thread that cleans up every minute; one process at a time does it.

    ``retention`` and ``session_idle`` are in seconds.
    """

    def __init__(
        self,
        *,
        database: Database,
        turns: TurnTable,
        leases: Leases,
        session_table: AgentSessionTable,
        retained: Sequence[Retained],
        expiring: Sequence[Expiring],
        sessions: AgentSessions,
        health: Health,
        retention: float,
        session_idle: float,
    ) -> None:
        self._database = database
        self._turns = turns
        self._leases = leases
        self._session_table = session_table
        self._retained = retained
        self._expiring = expiring
        self._sessions = sessions
        self._health = health
        self._retention = retention
        self._session_idle = session_idle
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cleanup", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and wait up to ``STOP_SECONDS`` for running work."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def run_once(self) -> None:
        """Delete old data and end idle sessions, unless another process is doing that."""
        with self._leases.hold(LEASE) as acquired:
            if acquired:
                self._clean_up()

    def _clean_up(self) -> None:
        self._warn_if_unhealthy()
        oldest = time.time() - self._retention
        for expiring in self._expiring:
            expiring.purge()
        for retained in self._retained:
            retained.purge(before=oldest)
        purged = self._turns.purge(before=oldest)
        if purged:
            log.info("Old turns purged", turns=purged)
        if not self._database.clear_log():
            log.warning("Deleted text may still be in the database's log file; trying again")
        idle_since = time.time() - self._session_idle - GRACE
        self._end_sessions(self._session_table.find_idle(idle_since), unused_since=idle_since)

    def _end_sessions(self, senders: list[str], *, unused_since: float) -> None:
        """End the sessions of these senders in parallel, because each may take seconds.

        As this may take minutes, sessions that were used after ``unused_since`` are not ended.
        """
        remaining = iter(senders)

        def end_some() -> None:
            try:
                for sender in remaining:
                    if self._stopped.is_set():
                        return
                    self._sessions.expire(sender, unused_since=unused_since)
            except Exception:
                log.exception("Idle sessions not ended; trying again in a minute")

        threads = [
            threading.Thread(target=end_some, name="end sessions", daemon=True)
            for _ in range(min(ENDED_AT_ONCE, len(senders)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _warn_if_unhealthy(self) -> None:
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
                log.exception("Cleanup failed; trying again in a minute")
