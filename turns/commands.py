"""Carries out the commands of users: voice on, voice off, new conversation."""

from __future__ import annotations

from concurrent.futures import Future

from core.models import AgentSession, Answer, Outcome, Turn
from storage.claims import Claims
from storage.preferences import PreferenceTable
from text.phrases import Command, Phrases
from turns.agent_sessions import AgentSessions
from turns.questions import Question


class Commands:
    """``voice_replies`` is the setting VOICE_REPLIES."""

    def __init__(
        self,
        *,
        claims: Claims,
        sessions: AgentSessions,
        preferences: PreferenceTable,
        phrases: Phrases,
        voice_replies: str,
    ) -> None:
        self._claims = claims
        self._sessions = sessions
        self._preferences = preferences
        self._phrases = phrases
        self._voice_replies = voice_replies

    def find(self, question: Question) -> Command | None:
        """The command that the question is, if it is one."""
        return self._phrases.command(question.text)

    def execute(
        self, command: Command, turn: Turn, question: Question, session: Future[AgentSession]
    ) -> Answer:
        """Carry the command out; returns the confirmation. ``session`` is being started.

        Raises ``TurnSuperseded`` or ``StorageError``.
        """
        # If this process was paused, another one may have run this turn and later ones meanwhile.
        self._claims.confirm(turn)
        sender = turn.message.sender
        phrase: str = command
        if command == "new_conversation":
            # Wait for the session that is being started: it may be the one to end.
            session.exception()
            self._sessions.end(sender, "UserRequest")
        elif command == "voice_on" and self._voice_replies == "never":
            phrase = "voice_unavailable"
        else:
            self._preferences.save_voice(sender, command == "voice_on")
        text = self._phrases.translate(phrase, question.language)
        return Answer(text, question.language, outcome=Outcome.COMMAND)
