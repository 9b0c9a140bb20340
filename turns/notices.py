"""The service's own sentences, in the language that the sender used last."""

from __future__ import annotations

from core.models import Answer, Inbound, Outcome
from storage.database import StorageError
from storage.leases import Leases
from storage.preferences import PreferenceTable
from text.phrases import Phrases


class Notices:
    """Sentences instead of the agent's answer, or in addition to it.

    ``max_seconds`` limits for how long it is stored that a sender got a refusal.
    """

    def __init__(
        self,
        *,
        phrases: Phrases,
        preferences: PreferenceTable,
        leases: Leases,
        max_seconds: float,
    ) -> None:
        self._phrases = phrases
        self._preferences = preferences
        self._leases = leases
        self._max_seconds = max_seconds

    def answer(self, sender: str, key: str) -> Answer:
        """The phrase ``key`` of ``phrases.toml`` as an answer. Raises ``StorageError``."""
        language = self._preferences.find(sender).language
        return Answer(self._phrases.translate(key, language), language, outcome=Outcome.NOTICE)

    def apology(self, sender: str, key: str) -> Answer:
        """Like ``answer``, but if the database fails, the phrase is in the default language.

        For use after the agent was asked: an error would cause it to be asked again.
        """
        try:
            language = self._preferences.find(sender).language
        except StorageError:
            language = None
        return Answer(self._phrases.translate(key, language), language, outcome=Outcome.APOLOGY)

    def refusal(self, message: Inbound, key: str) -> str:
        """The phrase for the sender of a message that is not accepted.

        Errors of the database are ignored, because it may be the reason for the refusal.
        """
        try:
            known = self._preferences.find(message.sender).language
        except StorageError:
            known = None
        return self._phrases.translate(key, self._phrases.detect_language(message.text, known))

    def refusal_once(self, message: Inbound, key: str, seconds: float) -> str | None:
        """Like ``refusal``, but ``None`` if the sender got the phrase in the last ``seconds``."""
        try:
            is_first = self._leases.acquire(
                f"{key} said to {message.sender}", min(seconds, self._max_seconds)
            )
        except StorageError:
            return None
        return self.refusal(message, key) if is_first else None
