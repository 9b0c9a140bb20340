"""Claims turns from the queue and runs them, as many at once as there are threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import structlog

from core.models import Turn
from storage.claims import Claims
from storage.database import StorageError
from turns.runner import Stopping, TurnRunner

log = structlog.get_logger(__name__)

# Claim few turns at a time, so that workers that are woken together share the turns.
CLAIMED_AT_ONCE = 10
# New turns wake the worker. Turns of a worker that died do not, so the queue is polled too.
POLL_SECONDS = 1.0
RETRY_SECONDS = 1.0


class TurnWorker:
    """One thread claims turns, ``threads`` others run them, one at a time for each sender."""

    def __init__(self, *, claims: Claims, runner: TurnRunner, threads: int) -> None:
        self._claims = claims
        self._runner = runner
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="turn")
        self._changed = threading.Condition()
        self._running = 0
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._failing = False
        self._claiming = threading.Thread(target=self._claim_turns, name="claim turns", daemon=True)

    def start(self) -> None:
        self._claiming.start()

    def wake(self) -> None:
        """Look at the queue now: there may be a new turn."""
        self._woken.set()

    def close(self, timeout: float) -> bool:
        """Claim no more turns, and wait for the running ones.

        After ``timeout`` seconds the rest is released for other processes, and this returns
        ``False``.
        """
        self._runner.stop()
        self._stopping.set()
        self.wake()
        until = time.monotonic() + timeout
        if self._claiming.is_alive():
            self._claiming.join(timeout)
        with self._changed:
            left = max(until - time.monotonic(), 0.0)
            finished = self._changed.wait_for(lambda: not self._running, left)
        if not finished:
            self._claims.release_all()
        return finished

    def _claim_turns(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                has_more = self._start_turns()
            except Exception as error:
                self._log_once(error)
                self._stopping.wait(RETRY_SECONDS)
            else:
                self._failing = False
                if not has_more:
                    self._woken.wait(POLL_SECONDS)

    def _start_turns(self) -> bool:
        """Claim and start some turns; returns whether there may be more."""
        limit = min(self._threads - self._running, CLAIMED_AT_ONCE)
        if not limit:
            return False
        turns = self._claims.claim_turns(limit)
        for turn in turns:
            if turn.attempts > 1:
                sid, number = turn.message.sid, turn.attempts
                log.warning("Turn begun again: its last start did not end", turn=sid, start=number)
            with self._changed:
                self._running += 1
            self._pool.submit(self._run, turn)
        return len(turns) == limit

    def _run(self, turn: Turn) -> None:
        try:
            self._runner.run(turn)
            self._claims.forget(turn)
        except Stopping:
            self._claims.release(turn)
        except Exception:
            # The runner handles all expected errors, so this one is a bug of the service.
            log.exception("Turn failed unexpectedly; trying again", turn=turn.message.sid)
            self._stopping.wait(RETRY_SECONDS)
            self._claims.release(turn, failed=True)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
            self.wake()

    def _log_once(self, error: Exception) -> None:
        if not self._failing:
            if isinstance(error, StorageError):
                log.error("No turns can be claimed; trying again", error=type(error).__name__)
            else:
                log.exception("No turns can be claimed; trying again")
        self._failing = True
