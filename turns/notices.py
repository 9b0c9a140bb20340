"""Our own sentences as answers, in the language their reader used last."""

from __future__ import annotations

from core.models import Answer, Inbound
from storage.store import Store, StoreError
from text.phrases import Phrases


class Notices:
    """What is answered in place of the agent."""

    def __init__(self, *, phrases: Phrases, store: Store) -> None:
        self._phrases = phrases
        self._store = store

    def answer(self, sender: str, key: str) -> Answer:
        """The phrase ``key`` of ``phrases.toml`` for the sender."""
        language = self._store.preferences(sender).language
        return Answer(self._phrases.translate(key, language), language)

    def refusal(self, message: Inbound, key: str) -> str:
        """What is said where a message is not taken; a failing database may be why."""
        try:
            known = self._store.preferences(message.sender).language
        except StoreError:
            known = None
        return self._phrases.translate(key, self._phrases.detect_language(message.text, known))
