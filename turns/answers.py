"""Turns the agent's reply into the answer that the sender gets."""

from __future__ import annotations

import structlog

from core.models import AgentReply, Answer
from metrics import Metrics
from text.markdown import paragraphs, to_whatsapp
from text.phrases import Phrases
from turns.questions import Question

log = structlog.get_logger(__name__)


class AnswerWriter:
    """``transcript_echo``: the answer to a voice note begins with what was understood."""

    def __init__(self, *, phrases: Phrases, metrics: Metrics, transcript_echo: bool) -> None:
        self._phrases = phrases
        self._metrics = metrics
        self._transcript_echo = transcript_echo

    def write(
        self, question: Question, reply: AgentReply, *, with_voice: bool, waited: float
    ) -> Answer:
        """The answer; ``waited`` is how long the turn waited for providers, in seconds."""
        if reply.escalated:
            self._metrics.count("escalations")
            log.info("Agent hands over to a person")
        words = paragraphs([reply.text, *self._remarks(reply, question.language)])
        aloud = words if with_voice else ""
        if question.spoken and self._transcript_echo:
            words = paragraphs([f"🎤 _{question.text}_", words])
        return Answer(to_whatsapp(words), question.language, aloud, waited)

    def _remarks(self, reply: AgentReply, language: str | None) -> list[str]:
        """Our own sentences after, or instead of, the agent's text."""
        keys = []
        if reply.escalated:
            keys.append("escalated")
        elif reply.ended:
            keys.append("session_ended")
        elif not reply.text:
            keys.append("action_failed" if reply.failed else "no_answer")
        return [self._phrases.translate(key, language) for key in keys]
