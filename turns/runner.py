"""Running a turn that is claimed to its end, whatever fails on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

import structlog

from core.errors import SendError, TurnSuperseded
from core.logs import turn_context
from core.models import Answer, Turn
from core.redaction import describe_error
from speech.synthesis import Reply
from storage.store import QUARANTINED, STALE_SECONDS, Store, StoreError
from turns.notices import Notices

T = TypeVar("T")

log = structlog.get_logger(__name__)

# A turn that was running when the process died this often is taken for the cause. It is also how
# often the agent may be asked for one message.
ATTEMPTS = 2
# How long a turn waits for a database that fails, or for Twilio to take its answer.
RETRY_SECONDS = 5.0


class Stopping(Exception):
    """The process is about to end; the turn is left for another, or for the next start."""


class TurnHandler(Protocol):
    """What a turn is made of (``turns/pipeline.py``)."""

    def answer(self, turn: Turn) -> Reply | None: ...

    def deliver(self, turn: Turn, reply: Reply) -> None: ...

    def was_sent(self, turn: Turn) -> bool: ...

    def apologise(self, turn: Turn, error: Exception) -> None: ...


class TurnRunner:
    """Runs and finishes turns on the caller's threads.

    ``log_key`` makes the hashes that stand for senders in the log. What is held up waits
    ``RETRY_SECONDS`` times ``patience``.
    """

    def __init__(
        self,
        *,
        store: Store,
        handler: TurnHandler,
        notices: Notices,
        log_key: str,
        patience: float = 1.0,
    ) -> None:
        self._store = store
        self._handler = handler
        self._notices = notices
        self._log_key = log_key
        self._patience = patience
        self._stopping = threading.Event()

    def run(self, turn: Turn) -> None:
        """Return once the turn is finished, or another process has it.

        Raises ``Stopping`` where it is left as it is.
        """
        if self._stopping.is_set():
            raise Stopping
        with turn_context(turn.message.sid, turn.message.sender, key=self._log_key):
            try:
                revived = self._retry_until_ok(lambda: self._resume(turn))
                if revived:
                    self._answer(revived)
                    self._retry_until_ok(lambda: self._store.finish(revived))
            except TurnSuperseded:
                log.warning("Turn taken over by another process")

    def stop(self) -> None:
        """Begin no more turns, and leave those that are held up."""
        self._stopping.set()

    def _answer(self, turn: Turn) -> None:
        """Whatever fails, the sender hears of it."""
        try:
            reply = Reply(turn.answer) if turn.answer else self._settled(turn)
            if reply:
                self._retry_until_ok(lambda: self._handler.deliver(turn, reply))
        except (Stopping, TurnSuperseded):
            raise
        except Exception as error:
            failure = error
            self._retry_until_ok(lambda: self._handler.apologise(turn, failure))

    def _settled(self, turn: Turn) -> Reply | None:
        """The answer, kept before any of it is sent; nobody asks the agent again for that."""
        reply = self._retry_until_ok(lambda: self._handler.answer(turn))
        if reply:
            self._retry_until_ok(lambda: self._store.save_answer(turn, reply.answer))
        return reply

    def _retry_until_ok(self, step: Callable[[], T]) -> T:
        """Take a step, as often as it takes.

        The sender's next turn must not overtake this one, so what fails holds both up.
        """
        while True:
            try:
                return step()
            except (StoreError, SendError) as error:
                log.error("Turn held up; trying again", error=describe_error(error))
            if self._stopping.wait(RETRY_SECONDS * self._patience):
                raise Stopping

    def _resume(self, turn: Turn) -> Turn | None:
        """The turn to go on with: as it was, or with nothing left to do but to say so."""
        if turn.attempts > ATTEMPTS:
            return self._set_aside(turn)
        fresh = time.time() - turn.message.received_at < STALE_SECONDS
        if fresh or turn.answer:
            return turn
        if self._store.has_later(turn):
            # Of several that came too long ago, one line is enough.
            self._store.finish(turn, QUARANTINED)
            return None
        return self._answered(turn, "resend")

    def _set_aside(self, turn: Turn) -> Turn | None:
        """A last try, which does nothing of what the process died in."""
        log.error("Turn set aside: it was begun and not ended again and again")
        if turn.attempts > ATTEMPTS + 1:
            self._store.finish(turn, QUARANTINED)
            return None
        if turn.answer and self._handler.was_sent(turn):
            # What is left is the voice note, and perhaps more text.
            return self._keeping(turn, replace(turn.answer, aloud=""))
        return self._answered(turn, "failed")

    def _answered(self, turn: Turn, phrase: str) -> Turn:
        return self._keeping(turn, self._notices.answer(turn.message.sender, phrase))

    def _keeping(self, turn: Turn, answer: Answer) -> Turn:
        self._store.save_answer(turn, answer)
        return replace(turn, answer=answer)
