"""Accepting messages once, and running each sender's in order on this process's own threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from enum import Enum

import structlog

from inbound import Inbound
from runner import Runner, Stopping
from store import Store, StoreError, Turn

# Senders whose messages are written down side by side.
LANES = 64

log = structlog.get_logger(__name__)


class Acceptance(Enum):
    """What became of a message that was handed in."""

    NEW = "new"
    DUPLICATE = "duplicate"
    LIMITED = "limited"
    FULL = "full"


def refused(message: Inbound, store: Store, reason: Acceptance) -> Acceptance:
    """What a message is that is not taken for that reason; raises ``StoreError``."""
    # Who is being answered must not be asked to write again.
    return Acceptance.DUPLICATE if store.knows(message.sid) else reason


class Inbox:
    """Writes messages down and runs their turns; senders never wait for each other."""

    def __init__(
        self,
        *,
        store: Store,
        runner: Runner,
        pool: Executor,
        limit: int,
    ) -> None:
        self._store = store
        self._runner = runner
        self._pool = pool
        self._limit = limit
        self._lanes = [threading.Lock() for _ in range(LANES)]
        self._changed = threading.Condition()
        # A sender is listed while one of their turns runs; the queue holds those behind it.
        self._queues: dict[str, deque[Turn]] = {}
        self._running = 0
        self._waiting = 0
        self._arriving = 0
        self._closed = False

    def accept(self, message: Inbound) -> Acceptance:
        """Take a message, once per SID; unless refused it is on disk when this returns."""
        try:
            with self._place() as free:
                if not free:
                    return refused(message, self._store, Acceptance.FULL)
                return self._admitted(message)
        except StoreError:
            log.exception("The database fails; no message can be accepted")
            return Acceptance.FULL

    def count_unfinished(self) -> int:
        """How many turns run or wait."""
        return self._running + self._waiting

    def recover(self) -> int:
        """Schedule what a former process accepted and did not finish; returns how many turns.

        To be called before anything is accepted, so that what is older runs first, and once.
        """
        left = self._store.unfinished()
        with self._changed:
            for turn in left:
                self._schedule(turn)
        return len(left)

    def close(self, timeout: float) -> bool:
        """Start no more turns and wait for the running ones; what waits is left for next time.

        ``False`` if some still run.
        """
        self._runner.stop()
        with self._changed:
            self._closed = True
            finished = self._changed.wait_for(lambda: not self._running, timeout)
        if not finished:
            self._runner.forgive()
        return finished

    @contextmanager
    def _place(self) -> Iterator[bool]:
        """Keep a place for one more turn; whether there is one."""
        with self._changed:
            free = self.count_unfinished() + self._arriving < self._limit
            self._arriving += free
        try:
            yield free
        finally:
            with self._changed:
                self._arriving -= free

    def _admitted(self, message: Inbound) -> Acceptance:
        # One at a time from paper to queue, lest a sender's messages overtake each other.
        with self._lanes[hash(message.sender) % LANES]:
            turn = self._store.admit(message)
            if turn is None:
                return refused(message, self._store, Acceptance.LIMITED)
            with self._changed:
                self._schedule(turn)
        return Acceptance.NEW

    def _schedule(self, turn: Turn) -> None:
        sender = turn.message.sender
        if sender in self._queues:
            self._queues[sender].append(turn)
            self._waiting += 1
        elif not self._closed:
            self._queues[sender] = deque()
            self._start(turn)

    def _start(self, turn: Turn) -> None:
        self._running += 1
        self._pool.submit(self._serve, turn)

    def _serve(self, turn: Turn) -> None:
        try:
            self._runner.run(turn)
        except Stopping:
            pass
        except Exception:
            # Not even an apology could be sent.
            log.exception("Turn left for the next start", turn=turn.message.sid)
        finally:
            self._next(turn)

    def _next(self, turn: Turn) -> None:
        """Queue the sender's next turn behind those of other senders."""
        sender = turn.message.sender
        with self._changed:
            self._running -= 1
            self._changed.notify_all()
            queue = self._queues[sender]
            if queue and not self._closed:
                self._waiting -= 1
                self._start(queue.popleft())
            elif not queue:
                del self._queues[sender]
