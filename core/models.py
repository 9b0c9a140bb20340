"""The data that travels: what a message, a turn and an answer are."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """What the sender sent, as far as this service treats it differently."""

    TEXT = "text"
    VOICE = "voice"
    LOCATION = "location"
    UNSUPPORTED = "unsupported"
    SILENT = "silent"


@dataclass(frozen=True)
class Inbound:
    """One message of a WhatsApp user.

    ``sender`` is opaque: kept as it came and used as the address to answer to. ``received_at`` is
    epoch seconds. ``text`` is the typed text, or the place of a location.
    """

    sid: str
    sender: str
    kind: Kind
    text: str = ""
    media_url: str = ""
    received_at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Answer:
    """What a sender gets, in WhatsApp's marks; ``aloud``, Markdown, is spoken as well, if anything.

    ``waited`` is how long the turn waited for providers until then, in seconds.
    """

    text: str
    language: str | None
    aloud: str = ""
    waited: float = 0.0


@dataclass(frozen=True)
class Turn:
    """A message and how far its turn has come.

    ``attempts`` counts the starts of its turn; ``claim`` names the last one, and who has it.
    """

    id: int
    message: Inbound
    attempts: int = 0
    answer: Answer | None = None
    claim: str | None = None


@dataclass(frozen=True)
class AgentSession:
    """A session at Agentforce and when it was last used (epoch seconds).

    ``to_note``: it does not count as personal yet, and nobody would notice its becoming so.
    """

    id: str
    used_at: float
    privacy_outdated: bool = False


@dataclass(frozen=True)
class Preferences:
    """What is known of a sender: ``voice`` as ordered, ``language`` as last used (ISO 639-1).

    ``used_at`` is when that was noted last (epoch seconds).
    """

    voice: bool | None = None
    language: str | None = None
    used_at: float = 0.0


@dataclass(frozen=True)
class Backlog:
    """How many turns wait and run, and when the first that waits was received (epoch seconds)."""

    waiting: int
    running: int
    oldest: float | None


@dataclass(frozen=True)
class AgentReply:
    """``text`` is Markdown and may be empty; the flags say what happened besides.

    ``asks``: the agent waits for something to be told or confirmed.
    """

    text: str = ""
    escalated: bool = False
    ended: bool = False
    failed: bool = False
    asks: bool = False
