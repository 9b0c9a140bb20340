"""Runs a claimed turn to its end, whatever fails on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

import structlog

from core.errors import SendError, TurnSuperseded
from core.logs import turn_context
from core.models import Answer, Outcome, Turn
from core.redaction import describe_error
from metrics import Metrics
from speech.synthesis import Reply
from storage.database import StorageError
from storage.turns import ABANDONED, STALE_SECONDS, TurnTable
from turns.notices import Notices
from turns.turn_counts import count_unanswered

T = TypeVar("T")

log = structlog.get_logger(__name__)

# If the process died in so many attempts of a turn, the turn is considered to be the cause. This is
# also how often the agent can be asked for one message.
MAX_ATTEMPTS = 2
# The pause before a turn tries again, when the database fails or Twilio accepts no message.
RETRY_SECONDS = 5.0


class Stopping(Exception):
    """The process stops; the turn is left for another process, or for the next start."""


class TurnHandler(Protocol):
    """The stages of a turn (``turns/pipeline.py``)."""

    def answer(self, turn: Turn) -> Reply | None: ...

    def deliver(self, turn: Turn, reply: Reply) -> None: ...

    def may_have_sent(self, turn: Turn) -> bool: ...

    def apologise(self, turn: Turn, error: Exception) -> None: ...


class TurnRunner:
    """Runs turns on the caller's threads.

    ``log_key`` is the key of the hashes that stand for senders in the log. Failed steps are
    repeated after ``RETRY_SECONDS`` times ``retry_factor``.
    """

    def __init__(
        self,
        *,
        turns: TurnTable,
        handler: TurnHandler,
        notices: Notices,
        metrics: Metrics,
        log_key: str,
        retry_factor: float = 1.0,
    ) -> None:
        self._turns = turns
        self._handler = handler
        self._notices = notices
        self._metrics = metrics
        self._log_key = log_key
        self._retry_factor = retry_factor
        self._stopping = threading.Event()

    def run(self, turn: Turn) -> None:
        """Run a turn until it is finished, or until another process has claimed it.

        Raises ``Stopping`` if the process stops; then the turn stays as it is.
        """
        if self._stopping.is_set():
            raise Stopping
        with turn_context(turn.message.sid, turn.message.sender, key=self._log_key):
            try:
                prepared = self._retry_until_ok(lambda: self._prepare(turn))
                if prepared:
                    self._process(prepared)
                    self._retry_until_ok(lambda: self._turns.finish(prepared))
            except TurnSuperseded:
                log.warning("Turn taken over by another process")

    def stop(self) -> None:
        """Begin no more turns, and give up turns that wait to try again."""
        self._stopping.set()

    def _process(self, turn: Turn) -> None:
        """Answer the turn; if anything fails, send an apology."""
        try:
            reply = Reply(turn.answer) if turn.answer else self._create_answer(turn)
            if reply:
                self._retry_until_ok(lambda: self._handler.deliver(turn, reply))
        except (Stopping, TurnSuperseded):
            raise
        except Exception as error:
            failure = error
            self._retry_until_ok(lambda: self._handler.apologise(turn, failure))

    def _create_answer(self, turn: Turn) -> Reply | None:
        """Get the answer and store it before it is sent, so that the agent is not asked again."""
        reply = self._retry_until_ok(lambda: self._handler.answer(turn))
        if reply:
            self._retry_until_ok(lambda: self._turns.save_answer(turn, reply.answer))
        return reply

    def _retry_until_ok(self, step: Callable[[], T]) -> T:
        """Repeat a step until it succeeds.

        The sender's next turn must not overtake this one, so both wait.
        """
        while True:
            try:
                return step()
            except (StorageError, SendError) as error:
                log.error("A step of the turn failed; trying again", error=describe_error(error))
            if self._stopping.wait(RETRY_SECONDS * self._retry_factor):
                raise Stopping

    def _prepare(self, turn: Turn) -> Turn | None:
        """The turn to process, perhaps with a fixed answer; ``None`` if it is finished already."""
        if turn.attempts > MAX_ATTEMPTS:
            return self._abandon(turn)
        stale_before = time.time() - STALE_SECONDS
        if turn.answer or turn.message.received_at >= stale_before:
            return turn
        if self._turns.has_later(turn, before=stale_before):
            # If several messages waited too long, only the last of them gets the apology.
            self._give_up(turn)
            return None
        return self._answer_with_phrase(turn, "resend")

    def _abandon(self, turn: Turn) -> Turn | None:
        """Make a last attempt: send a stored or a fixed answer, without agent and speech."""
        log.error("Turn abandoned: its process died again and again", attempts=turn.attempts)
        if turn.attempts > MAX_ATTEMPTS + 1:
            self._give_up(turn)
            return None
        if turn.answer and self._handler.may_have_sent(turn):
            # An apology would contradict what may have arrived. Send what is missing of the text.
            return self._save_answer(turn, replace(turn.answer, aloud=""))
        return self._answer_with_phrase(turn, "failed")

    def _give_up(self, turn: Turn) -> None:
        self._turns.finish(turn, ABANDONED)
        count_unanswered(self._metrics, turn)

    def _answer_with_phrase(self, turn: Turn, phrase: str) -> Turn:
        answer = self._notices.answer(turn.message.sender, phrase)
        return self._save_answer(turn, replace(answer, outcome=Outcome.APOLOGY))

    def _save_answer(self, turn: Turn, answer: Answer) -> Turn:
        self._turns.save_answer(turn, answer)
        return replace(turn, answer=answer)
