"""Asks the agent the question of a turn, unless another process has taken the turn over."""

from __future__ import annotations

import time
from concurrent.futures import Future

from core.deadline import remaining_time
from core.errors import AgentUnavailable
from core.models import AgentReply, AgentSession, Turn
from metrics import Metrics
from speech.synthesis import StreamingSynthesis
from storage.claims import Claims
from turns.agent_sessions import AgentSessions
from turns.answer_cache import AnswerCache
from turns.prewarming import Prewarmer
from turns.questions import Question
from turns.stage_log import log_stage


class AgentAsker:
    """Thread-safe; one question of a sender at a time."""

    def __init__(
        self,
        *,
        claims: Claims,
        prewarmer: Prewarmer,
        sessions: AgentSessions,
        answer_cache: AnswerCache,
        metrics: Metrics,
    ) -> None:
        self._claims = claims
        self._prewarmer = prewarmer
        self._sessions = sessions
        self._answer_cache = answer_cache
        self._metrics = metrics

    def start_session(self, sender: str) -> Future[AgentSession]:
        """Start the sender's session in the background, while the question is read."""
        return self._prewarmer.prewarm(sender)

    def ask(
        self,
        turn: Turn,
        question: Question,
        session: AgentSession,
        synthesis: StreamingSynthesis | None,
    ) -> AgentReply:
        """The answer of the agent, or of the cache; ``synthesis`` speaks it while it is written.

        Raises ``AgentError``, ``TurnSuperseded``, or ``StorageError`` before the agent was asked.
        """

        def ask_agent() -> AgentReply:
            return self._ask_agent(turn, question.text, session, synthesis)

        sender = turn.message.sender
        return self._answer_cache.ask(sender, question.text, question.language, ask_agent)

    def _ask_agent(
        self,
        turn: Turn,
        text: str,
        session: AgentSession,
        synthesis: StreamingSynthesis | None,
    ) -> AgentReply:
        self._claims.confirm(turn)
        self._claims.mark_asked(turn)
        self._metrics.count("questions_asked")
        started = time.monotonic()
        try:
            reply = self._sessions.ask(turn.message.sender, session, text, synthesis)
        except Exception:
            if synthesis:
                synthesis.discard()
            raise
        log_stage(self._metrics, "agentforce_time", "Agentforce", time.monotonic() - started)
        return reply


def wait_for_session(session: Future[AgentSession]) -> AgentSession:
    """The started session. Raises ``AgentError``, also if there is none before the deadline."""
    try:
        return session.result(remaining_time())
    except TimeoutError:
        raise AgentUnavailable("no session in time") from None
