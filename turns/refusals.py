"""What is said to whoever is not served: one line, and then nothing for a while."""

from __future__ import annotations

from core.models import Inbound
from storage.leases import Leases
from storage.store import StoreError
from turns.notices import Notices


class RefusalNotices:
    """Of several processes one says it. Nobody is remembered longer than ``longest`` seconds."""

    def __init__(self, *, notices: Notices, leases: Leases, longest: float) -> None:
        self._notices = notices
        self._leases = leases
        self._longest = longest

    def line(self, message: Inbound, phrase: str, seconds: float) -> str | None:
        """The phrase for the sender, once in so many seconds; ``None`` where it was said."""
        try:
            said = not self._leases.acquire(
                f"{phrase} said to {message.sender}", min(seconds, self._longest)
            )
        except StoreError:
            return None
        return None if said else self._notices.refusal(message, phrase)
