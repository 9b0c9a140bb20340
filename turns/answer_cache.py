"""Public questions that were answered before are answered without the agent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import structlog

from core.models import AgentReply
from metrics import Metrics
from storage.answers import AnswerTable
from storage.store import EMPTY, PRIVATE, PUBLIC, Store, StoreError
from turns.public_questions import PublicQuestions, normalised

log = structlog.get_logger(__name__)


class AnswerCache:
    """Gives, and keeps, answers only in sessions in which nothing but public things were asked.

    An agent does not know of what was answered for it. ``enabled=False``: it is always asked.
    """

    def __init__(
        self,
        *,
        store: Store,
        answers: AnswerTable,
        public: PublicQuestions,
        metrics: Metrics,
        agent_id: str,
        enabled: bool,
    ) -> None:
        self._store = store
        self._answers = answers
        self._public = public
        self._metrics = metrics
        self._agent_id = agent_id
        self._enabled = enabled

    def ask(
        self, sender: str, question: str, language: str | None, ask: Callable[[], AgentReply]
    ) -> AgentReply:
        """The agent's reply, of now or of before; ``ask`` puts the question to it.

        Raises ``StoreError`` before the agent is asked, and whatever ``ask`` raises.
        """
        if not self._enabled:
            return ask()
        words = normalised(question)
        asked = self._store.asked(sender)
        if asked == PRIVATE or not self._public.include(words, first=asked == EMPTY):
            return self._noting(sender, PRIVATE, ask)
        return self._answered(sender, self._key(words, language), ask)

    def _answered(self, sender: str, key: str, ask: Callable[[], AgentReply]) -> AgentReply:
        kept = self._answers.find(key)
        if kept:
            self._store.note_asked(sender, PUBLIC)
            self._metrics.count("answer_cache_hits")
            self._metrics.record_time("answer_cache_age", kept.age)
            return AgentReply(kept.text)
        self._metrics.count("answer_cache_misses")
        reply = self._noting(sender, PUBLIC, ask)
        if _stands_alone(reply):
            self._keep(key, reply.text)
        return reply

    def _noting(self, sender: str, what: str, ask: Callable[[], AgentReply]) -> AgentReply:
        """Ask; a process that dies meanwhile has noted already what it asked."""
        self._store.note_asked(sender, what)
        try:
            return ask()
        finally:
            # Where Agentforce had forgotten the session, the question was asked in a new one.
            self._note_again(sender, what)

    def _note_again(self, sender: str, what: str) -> None:
        """The agent was asked; a database that fails now must not make us ask again."""
        try:
            self._store.note_asked(sender, what)
        except StoreError as error:
            log.error("Question not noted", error=type(error).__name__)

    def _keep(self, key: str, text: str) -> None:
        try:
            self._answers.save(key, text)
        except StoreError as error:
            log.warning("Answer not kept for others", error=type(error).__name__)

    def _key(self, words: str, language: str | None) -> str:
        parts = json.dumps([self._agent_id, language, words])
        return hashlib.sha256(parts.encode()).hexdigest()


def _stands_alone(reply: AgentReply) -> bool:
    """Whether it is all that follows from the question: no handover, no question in return."""
    led_on = reply.escalated or reply.ended or reply.failed or reply.asks
    return bool(reply.text) and not led_on
