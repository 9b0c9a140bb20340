"""Accepting messages once, running each sender's in order, and taking up what a restart left."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from enum import Enum

import structlog

from errors import SendError
from inbound import Inbound
from phrases import Phrases
from store import SET_ASIDE, STALE_SECONDS, Answer, Store, StoreError, Turn

log = structlog.get_logger(__name__)

# A turn that was running when the process died this often is taken for the cause.
ATTEMPTS = 3
# How long a turn waits for a database that fails, or for Twilio to take its answer.
RETRY_SECONDS = 5.0


class Acceptance(Enum):
    """What became of a message that was handed in."""

    NEW = "new"
    DUPLICATE = "duplicate"
    FULL = "full"


class Inbox:
    """Writes messages down and hands them to ``run``; senders never wait for each other."""

    def __init__(
        self,
        *,
        store: Store,
        run: Callable[[Turn], None],
        pool: Executor,
        phrases: Phrases,
        limit: int,
    ) -> None:
        self._store = store
        self._run = run
        self._pool = pool
        self._phrases = phrases
        self._limit = limit
        self._changed = threading.Condition()
        # A sender is listed while one of their turns runs; the queue holds those behind it.
        self._queues: dict[str, deque[Turn]] = {}
        self._running: dict[int, Turn] = {}
        self._waiting = 0
        self._closed = False

    def accept(self, message: Inbound) -> Acceptance:
        """Take a message, once per SID; unless refused it is on disk when this returns."""
        # One at a time from paper to queue, so that a sender's messages cannot overtake another.
        with self._changed:
            try:
                if len(self._running) + self._waiting >= self._limit:
                    # Who is being answered must not be asked to write again.
                    known = self._store.knows(message.sid)
                    return Acceptance.DUPLICATE if known else Acceptance.FULL
                turn = self._store.admit(message)
            except StoreError:
                log.exception("The database fails; no message can be accepted")
                return Acceptance.FULL
            if turn is None:
                return Acceptance.DUPLICATE
            self._schedule(turn)
        return Acceptance.NEW

    def recover(self) -> int:
        """Schedule what a former process accepted and did not finish; returns how many turns.

        To be called before anything is accepted, so that what is older runs first, and once.
        """
        left = self._store.unfinished()
        latest = {turn.message.sender: turn.id for turn in left}
        with self._changed:
            for turn in left:
                revived = self._revived(turn, latest=latest[turn.message.sender] == turn.id)
                if revived:
                    self._schedule(revived)
        return len(left)

    def close(self, timeout: float) -> bool:
        """Start no more turns and wait for the running ones; what waits is left for next time.

        ``False`` if some still run.
        """
        with self._changed:
            self._closed = True
            if self._changed.wait_for(lambda: not self._running, timeout):
                return True
            for turn in self._running.values():
                self._store.forgive(turn)
            return False

    def _revived(self, turn: Turn, *, latest: bool) -> Turn | None:
        """The turn to go on with: as it was, or with nothing left to do but to say so."""
        fresh = time.time() - turn.message.received_at < STALE_SECONDS
        if turn.attempts < ATTEMPTS and (fresh or turn.answer):
            return turn
        if turn.attempts < ATTEMPTS:
            if latest:
                return self._answered(turn, "resend")
            # Of several that came too long ago, one line is enough.
            self._store.finish(turn, SET_ASIDE)
            return None
        log.error("Turn set aside: the process died in it again and again", turn=turn.message.sid)
        if turn.attempts > ATTEMPTS:
            self._store.finish(turn, SET_ASIDE)
            return None
        if turn.answer is None:
            return self._answered(turn, "failed")
        # Its words may not have gone out yet; making the voice note may be what kills.
        return replace(turn, answer=replace(turn.answer, aloud=""))

    def _answered(self, turn: Turn, phrase: str) -> Turn:
        language = self._store.preferences(turn.message.sender).language
        answer = Answer(self._phrases.say(phrase, language), language)
        self._store.save_answer(turn, answer)
        return Turn(turn.id, turn.message, turn.attempts, answer)

    def _schedule(self, turn: Turn) -> None:
        sender = turn.message.sender
        if sender in self._queues:
            self._queues[sender].append(turn)
            self._waiting += 1
        elif not self._closed:
            self._queues[sender] = deque()
            self._start(turn)

    def _start(self, turn: Turn) -> None:
        self._running[turn.id] = turn
        self._pool.submit(self._serve, turn)

    def _serve(self, turn: Turn) -> None:
        steps = (self._store.begin, self._run, self._store.finish)
        try:
            if not self._closed:
                # Short of the last step the turn is unfinished, and the next start takes it up.
                all(self._done(step, turn) for step in steps)
        except Exception:
            log.exception("Turn left for the next start", turn=turn.message.sid)
        finally:
            self._next(turn)

    def _done(self, step: Callable[[Turn], None], turn: Turn) -> bool:
        """Take a step, as often as it takes; ``False`` where the inbox is closed before that.

        The sender's next turn must not overtake this one, so what fails holds both up.
        """
        while True:
            try:
                step(turn)
            except (StoreError, SendError) as error:
                reason = f"{type(error).__name__}: {error}"
                log.error("Turn held up; trying again", turn=turn.message.sid, error=reason)
            else:
                return True
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, RETRY_SECONDS):
                    return False

    def _next(self, turn: Turn) -> None:
        """Queue the sender's next turn behind those of other senders."""
        sender = turn.message.sender
        with self._changed:
            del self._running[turn.id]
            self._changed.notify_all()
            queue = self._queues[sender]
            if queue and not self._closed:
                self._waiting -= 1
                self._start(queue.popleft())
            elif not queue:
                del self._queues[sender]
