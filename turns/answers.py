"""Turns the agent's reply into the answer that the sender gets."""

from __future__ import annotations

import structlog

from core.errors import AnswerEmpty
from core.models import AgentReply, Answer, Outcome
from metrics import Metrics
from text.code_fences import close_fence
from text.markdown import paragraphs, to_whatsapp
from text.phrases import Phrases
from turns.questions import Question
from turns.turn_counts import count_turn_error

log = structlog.get_logger(__name__)


class AnswerWriter:
    """``transcript_echo``: the answer to a voice note begins with what was understood.

    ``handoff_contact`` is where the sender reaches a person, if the agent wants one to take over.
    """

    def __init__(
        self, *, phrases: Phrases, metrics: Metrics, transcript_echo: bool, handoff_contact: str
    ) -> None:
        self._phrases = phrases
        self._metrics = metrics
        self._transcript_echo = transcript_echo
        self._handoff_contact = handoff_contact

    def write(
        self, question: Question, reply: AgentReply, *, with_voice: bool, waited: float
    ) -> Answer:
        """The answer; ``waited`` is how long the turn waited for providers, in seconds."""
        if reply.escalated:
            self._metrics.count("escalations")
            log.info("Agent hands over to a person")
        # The text may have nothing that WhatsApp can show, such as a drawing in HTML.
        shown = to_whatsapp(reply.text)
        remarks = self._remarks(reply, shown, question.language)
        spoken = close_fence(reply.text) if shown else ""
        aloud = paragraphs([spoken, *remarks]) if with_voice else ""
        is_empty = not (shown or reply.escalated or reply.ended)
        if is_empty:
            count_turn_error(self._metrics, AnswerEmpty())
        outcome = Outcome.APOLOGY if is_empty else Outcome.ANSWER
        parts = [shown, *map(to_whatsapp, remarks)]
        if question.spoken and self._transcript_echo:
            parts.insert(0, to_whatsapp(f"🎤 _{question.text}_"))
        return Answer(paragraphs(parts), question.language, aloud, waited, outcome)

    def _remarks(self, reply: AgentReply, shown: str, language: str | None) -> list[str]:
        """Our own sentences after, or instead of, the agent's text."""
        if reply.escalated and self._handoff_contact:
            contact = self._handoff_contact
            return [self._phrases.translate("escalated_contact", language, contact=contact)]
        if reply.escalated:
            return [self._phrases.translate("escalated", language)]
        if reply.ended:
            return [self._phrases.translate("session_ended", language)]
        if not shown:
            key = "action_failed" if reply.failed else "no_answer"
            return [self._phrases.translate(key, language)]
        return []
