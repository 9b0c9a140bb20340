"""Our own sentences, in the language that their reader used last."""

from __future__ import annotations

from core.models import Answer, Inbound
from storage.database import StorageError
from storage.leases import Leases
from storage.preferences import PreferenceTable
from text.phrases import Phrases


class Notices:
    """What a sender reads instead of, or beside, the agent's answer.

    ``longest`` is the most seconds for which it is stored that a sender was told something.
    """

    def __init__(
        self,
        *,
        phrases: Phrases,
        preferences: PreferenceTable,
        leases: Leases,
        longest: float,
    ) -> None:
        self._phrases = phrases
        self._preferences = preferences
        self._leases = leases
        self._longest = longest

    def answer(self, sender: str, key: str) -> Answer:
        """The phrase ``key`` of ``phrases.toml`` as an answer. Raises ``StorageError``."""
        language = self._preferences.find(sender).language
        return Answer(self._phrases.translate(key, language), language)

    def apology(self, sender: str, key: str) -> Answer:
        """The same after the agent was asked: it never raises, or the agent would be asked again.

        If the database fails, the phrase is in the default language.
        """
        try:
            return self.answer(sender, key)
        except StorageError:
            return Answer(self._phrases.translate(key, None), None)

    def refusal(self, message: Inbound, key: str) -> str:
        """The phrase for the sender of a message that is not accepted.

        The database may be the reason for that, so its errors are ignored.
        """
        try:
            known = self._preferences.find(message.sender).language
        except StorageError:
            known = None
        return self._phrases.translate(key, self._phrases.detect_language(message.text, known))

    def refusal_once(self, message: Inbound, key: str, seconds: float) -> str | None:
        """The same, but only once in so many seconds over all processes, otherwise ``None``."""
        try:
            is_first = self._leases.acquire(
                f"{key} said to {message.sender}", min(seconds, self._longest)
            )
        except StorageError:
            return None
        return self.refusal(message, key) if is_first else None
