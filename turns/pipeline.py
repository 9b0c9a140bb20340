"""The stages of one turn: read the question, ask the agent, write the answer, send it."""

from __future__ import annotations

import time
from concurrent.futures import Executor, Future, wait

import structlog
from cachetools import LRUCache

from core.deadline import Deadline
from core.errors import BridgeError, DeadlineExceeded, TurnSuperseded
from core.models import AgentSession, Attachment, Kind, Preferences, Turn
from core.settings import Settings
from metrics import Metrics
from speech.synthesis import Reply
from storage.database import StorageError
from storage.preferences import PreferenceTable
from turns.answers import AnswerWriter
from turns.asking import AgentAsker, wait_for_session
from turns.commands import Commands
from turns.notices import Notices
from turns.questions import Question, QuestionReader
from turns.reply_delivery import ReplyDelivery
from turns.stage_log import log_failure
from turns.turn_counts import count_turn_error, count_unanswered

log = structlog.get_logger(__name__)

# A call that reaches the deadline raises a more specific error than DeadlineExceeded. Wait this
# long for that error.
GRACE_SECONDS = 2.0


class Pipeline:
    """Answers one turn at a time for each sender. Thread-safe.

    The stages run on ``threads``, so that the calling thread can send the "still working" message.
    The pool must be used for nothing else: a shared pool could deadlock.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        metrics: Metrics,
        preferences: PreferenceTable,
        questions: QuestionReader,
        commands: Commands,
        agent: AgentAsker,
        answers: AnswerWriter,
        replies: ReplyDelivery,
        notices: Notices,
        threads: Executor,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._preferences = preferences
        self._questions = questions
        self._commands = commands
        self._agent = agent
        self._answers = answers
        self._replies = replies
        self._notices = notices
        self._threads = threads
        # The questions of turns that are not answered yet. After a database error the turn is tried
        # again, and the transcription need not be paid twice.
        self._questions_read: LRUCache[int, Question] = LRUCache(settings.TURN_THREADS)

    def answer(self, turn: Turn) -> Reply | None:
        """The agent's answer, or an apology; ``None`` if the message needs no answer.

        Raises ``StorageError`` before the agent is asked, or ``TurnSuperseded``.
        """
        self._metrics.record_time("queue_time", time.time() - turn.message.received_at)
        if turn.message.kind is Kind.SILENT:
            # Stored by a web process of an earlier release.
            log.info("Nothing to answer")
            return None
        self._replies.show_typing(turn)
        deadline = Deadline(self._settings.TURN_DEADLINE)
        with deadline.applied():
            pending_reply = self._threads.submit(self._answer, turn)
        try:
            return self._wait_for_reply(turn, pending_reply, deadline)
        except (StorageError, TurnSuperseded):
            raise
        except Exception as error:
            self._log_failure(error)
            phrase = error.phrase if isinstance(error, BridgeError) else BridgeError.phrase
            return Reply(self._notices.apology(turn.message.sender, phrase))

    def deliver(self, turn: Turn, reply: Reply) -> None:
        """Send the reply, or the rest of it if an earlier attempt has sent a part.

        Raises ``StorageError`` or ``SendError`` if that may be tried again.
        """
        self._replies.send(turn, reply)

    def apologise(self, turn: Turn, error: Exception) -> None:
        """Tell the sender that something failed, and log the error. Raises ``StorageError``."""
        self._replies.send_notice(turn, "apology", "failed")
        self._log_failure(error)
        count_unanswered(self._metrics, turn)

    def may_have_sent(self, turn: Turn) -> bool:
        """Whether an attempt began to send the answer. Raises ``StorageError``."""
        return self._replies.may_have_sent(turn)

    def _log_failure(self, error: Exception) -> None:
        count_turn_error(self._metrics, error)
        log_failure("❌ Turn failed", error)

    def _wait_for_reply(self, turn: Turn, pending: Future[Reply], deadline: Deadline) -> Reply:
        """Wait until the deadline; if that takes long, send the "still working" message once."""
        notice_after = self._settings.STILL_WORKING_AFTER
        waited = time.time() - turn.message.received_at
        # A turn that waited in the queue still gets a quarter of the time before the message.
        notice_delay = max(notice_after - waited, notice_after / 4)
        wait([pending], timeout=min(notice_delay, deadline.remaining() + GRACE_SECONDS))
        if not pending.done() and deadline.remaining():
            self._say_still_working(turn)
        wait([pending], timeout=deadline.remaining() + GRACE_SECONDS)
        if not pending.done():
            pending.cancel()
            raise DeadlineExceeded
        return pending.result()

    def _say_still_working(self, turn: Turn) -> None:
        try:
            if self._replies.send_notice(turn, "notice", "still_working"):
                self._metrics.count("still_working_sent")
        except StorageError as error:
            # If this error were raised, the turn would be repeated, and the agent asked again.
            log.warning("The message “still working” was not sent", error=type(error).__name__)

    def _answer(self, turn: Turn) -> Reply:
        """All stages of a turn, in their order."""
        message = turn.message
        if message.kind is Kind.UNSUPPORTED:
            is_missing = message.attachment is Attachment.MISSING
            phrase = "media_gone" if is_missing else "unsupported"
            return Reply(self._notices.answer(message.sender, phrase))
        session = self._agent.start_session(message.sender)
        preferences = self._preferences.find(message.sender)
        question = self._read_question(turn, preferences)
        self._save_language(message.sender, question.language, preferences)
        if command := self._commands.find(question):
            return Reply(self._commands.execute(command, turn, question, session))
        return self._ask_and_write(turn, question, session, preferences)

    def _read_question(self, turn: Turn, preferences: Preferences) -> Question:
        known = self._questions_read.get(turn.id)
        question = known or self._questions.read(turn.message, preferences.language)
        self._questions_read[turn.id] = question
        return question

    def _save_language(self, sender: str, language: str | None, preferences: Preferences) -> None:
        """Store the language if it changed, or if the stored one will soon be purged."""
        save_again_after = self._settings.RETENTION_HOURS * 3600 / 10
        is_old = time.time() - preferences.used_at > save_again_after
        if language and (language != preferences.language or is_old):
            self._preferences.save_language(sender, language)

    def _ask_and_write(
        self,
        turn: Turn,
        question: Question,
        pending_session: Future[AgentSession],
        preferences: Preferences,
    ) -> Reply:
        with_voice = self._wants_voice(question, preferences)
        started = time.monotonic()
        session = wait_for_session(pending_session)
        synthesis = self._replies.start_voice_note(question.language) if with_voice else None
        reply = self._agent.ask(turn, question, session, synthesis)
        self._questions_read.pop(turn.id, None)
        waited = question.waited + time.monotonic() - started
        answer = self._answers.write(question, reply, with_voice=with_voice, waited=waited)
        if synthesis:
            synthesis.finish(answer.aloud)
        return Reply(answer, synthesis)

    def _wants_voice(self, question: Question, preferences: Preferences) -> bool:
        policy = self._settings.VOICE_REPLIES
        if policy == "never":
            return False
        if preferences.voice is not None:
            return preferences.voice
        return policy == "always" or question.spoken
