"""What must outlive a thread: messages seen, agent sessions, preferences, voice notes.

In memory and bounded; a restart forgets it.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, replace

from cachetools import LRUCache, TTLCache

# Twilio repeats a webhook within seconds; a day covers an operator's replays
# (contracts/twilio.md §13.2).
SEEN_LIFETIME = 24 * 3600
SEEN_LIMIT = 200_000
SENDER_LIMIT = 100_000
NOTE_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class AgentSession:
    """A session at Agentforce and when it was last used (epoch seconds)."""

    id: str
    used_at: float


@dataclass(frozen=True)
class Preferences:
    """What is known of a sender: ``voice`` as ordered, ``language`` as last used (ISO 639-1)."""

    voice: bool | None = None
    language: str | None = None


class Store:
    """Thread-safe; every method returns at once."""

    def __init__(self, *, note_lifetime: float) -> None:
        self._lock = threading.Lock()
        self._seen: TTLCache[str, bool] = TTLCache(SEEN_LIMIT, SEEN_LIFETIME, timer=time.monotonic)
        self._sessions: LRUCache[str, AgentSession] = LRUCache(SENDER_LIMIT)
        self._preferences: LRUCache[str, Preferences] = LRUCache(SENDER_LIMIT)
        self._notes: TTLCache[str, bytes] = TTLCache(
            NOTE_BYTES, note_lifetime, timer=time.monotonic, getsizeof=len
        )

    def admit(self, message_sid: str) -> bool:
        """Note a message down; ``False`` if it was noted before."""
        with self._lock:
            if message_sid in self._seen:
                return False
            self._seen[message_sid] = True
            return True

    def dismiss(self, message_sid: str) -> None:
        """Forget a message that was not accepted after all, so that it may be sent again."""
        with self._lock:
            self._seen.pop(message_sid, None)

    def session(self, sender: str) -> AgentSession | None:
        with self._lock:
            return self._sessions.get(sender)

    def save_session(self, sender: str, session: AgentSession) -> None:
        with self._lock:
            self._sessions[sender] = session

    def drop_session(self, sender: str) -> AgentSession | None:
        """Forget the sender's session and return it."""
        with self._lock:
            return self._sessions.pop(sender, None)

    def preferences(self, sender: str) -> Preferences:
        with self._lock:
            return self._known(sender)

    def prefer_voice(self, sender: str, voice: bool) -> None:
        with self._lock:
            self._preferences[sender] = replace(self._known(sender), voice=voice)

    def remember_language(self, sender: str, language: str) -> None:
        with self._lock:
            self._preferences[sender] = replace(self._known(sender), language=language)

    def keep_note(self, audio: bytes) -> str:
        """Keep a voice note for ``note_lifetime`` seconds; returns its unguessable token."""
        token = secrets.token_hex(16)
        with self._lock:
            self._notes[token] = audio
        return token

    def note(self, token: str) -> bytes | None:
        with self._lock:
            return self._notes.get(token)

    def _known(self, sender: str) -> Preferences:
        return self._preferences.get(sender) or Preferences()
