"""Caches the agent's answers to public questions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import structlog

from core.models import AgentReply, SessionPrivacy
from metrics import Metrics
from storage.agent_sessions import AgentSessionTable
from storage.answers import AnswerTable
from storage.database import StorageError
from turns.public_questions import PublicQuestions, normalize_question

log = structlog.get_logger(__name__)


class AnswerCache:
    """Caches answers only in sessions in which nothing private was asked.

    The agent does not know what the cache answered, so a session's later questions may be
    misunderstood; that is accepted for public questions only. With ``enabled=False`` the agent is
    always asked.
    """

    def __init__(
        self,
        *,
        sessions: AgentSessionTable,
        answers: AnswerTable,
        public: PublicQuestions,
        metrics: Metrics,
        agent_id: str,
        enabled: bool,
    ) -> None:
        self._sessions = sessions
        self._answers = answers
        self._public = public
        self._metrics = metrics
        self._agent_id = agent_id
        self._enabled = enabled

    def ask(
        self, sender: str, question: str, language: str | None, ask: Callable[[], AgentReply]
    ) -> AgentReply:
        """The stored answer, or the agent's, for which ``ask`` is called.

        Raises ``StorageError`` before the agent is asked, and whatever ``ask`` raises.
        """
        if not self._enabled:
            return ask()
        words = normalize_question(question)
        privacy = self._sessions.privacy(sender)
        is_first = privacy is SessionPrivacy.EMPTY
        if privacy is SessionPrivacy.PRIVATE or not self._public.include(words, first=is_first):
            return self._ask_agent(sender, SessionPrivacy.PRIVATE, ask)
        return self._ask_cached(sender, self._key(words, language), ask)

    def _ask_cached(self, sender: str, key: str, ask: Callable[[], AgentReply]) -> AgentReply:
        stored = self._answers.find(key)
        if stored:
            self._sessions.raise_privacy(sender, SessionPrivacy.PUBLIC)
            self._metrics.count("answer_cache_hits")
            self._metrics.record_time("answer_cache_age", stored.age)
            return AgentReply(stored.text)
        self._metrics.count("answer_cache_misses")
        reply = self._ask_agent(sender, SessionPrivacy.PUBLIC, ask)
        if _is_complete(reply):
            self._save(key, reply.text)
        return reply

    def _ask_agent(
        self, sender: str, privacy: SessionPrivacy, ask: Callable[[], AgentReply]
    ) -> AgentReply:
        """Ask the agent. The privacy is stored first, in case the process dies meanwhile."""
        self._sessions.raise_privacy(sender, privacy)
        try:
            return ask()
        finally:
            # If Agentforce did not know the session any more, a new one was started to ask.
            self._raise_privacy_again(sender, privacy)

    def _raise_privacy_again(self, sender: str, privacy: SessionPrivacy) -> None:
        """Log a failure of the database only, because the agent was asked already."""
        try:
            self._sessions.raise_privacy(sender, privacy)
        except StorageError as error:
            log.error("The privacy of the session is not stored", error=type(error).__name__)

    def _save(self, key: str, text: str) -> None:
        try:
            self._answers.save(key, text)
        except StorageError as error:
            log.warning("Answer not cached", error=type(error).__name__)

    def _key(self, words: str, language: str | None) -> str:
        parts = json.dumps([self._agent_id, language, words])
        return hashlib.sha256(parts.encode()).hexdigest()


def _is_complete(reply: AgentReply) -> bool:
    """Whether the text is the whole answer: no handover, no failure, no question in return."""
    continues = reply.escalated or reply.ended or reply.failed or reply.asks
    return bool(reply.text) and not continues
