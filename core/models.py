"""The data that the packages pass to each other: messages, turns, answers, sessions."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from enum import Enum


class Kind(Enum):
    """The kinds of messages that the service treats differently."""

    TEXT = "text"
    VOICE = "voice"
    LOCATION = "location"
    UNSUPPORTED = "unsupported"
    # For example a reaction. Nobody expects an answer.
    SILENT = "silent"


class Attachment(Enum):
    """A file that came with a message and is not a recording. The values are stored."""

    # Twilio passed the file on, but the agent cannot see it.
    UNSEEN = "unseen"
    # Twilio names a type of content that it did not pass on.
    MISSING = "missing"


@dataclass(frozen=True)
class Inbound:
    """One message of a WhatsApp user.

    ``sender`` says who wrote it, and stays the same when the user hides or shows the phone number.
    ``address`` is where to answer, if that is not ``sender``. Both are opaque, and are stored as
    they came. ``received_at`` is in epoch seconds. ``text`` is the typed text, a caption, or the
    place of a location.
    """

    sid: str
    sender: str
    kind: Kind
    text: str = ""
    media_url: str = ""
    received_at: float = field(default_factory=time.time)
    address: str = ""
    attachment: Attachment | None = None

    @property
    def reply_address(self) -> str:
        """The address to answer to."""
        return self.address or self.sender


class Outcome(Enum):
    """What kind of answer a message got. The values are stored."""

    # The agent's.
    ANSWER = "answer"
    # The confirmation of a command.
    COMMAND = "command"
    # A sentence of the service's own, as about a file that it cannot read.
    NOTICE = "notice"
    # The agent's answer failed to come.
    APOLOGY = "apology"


@dataclass(frozen=True)
class Answer:
    """The answer to one message.

    ``text`` is what WhatsApp shows, with WhatsApp's own marks. ``language`` is an ISO 639-1 code.
    ``aloud`` is the Markdown of the voice note; if it is empty, there is none. ``waited`` is how
    long the turn waited for providers, in seconds.
    """

    text: str
    language: str | None
    aloud: str = ""
    waited: float = 0.0
    outcome: Outcome = Outcome.ANSWER


@dataclass(frozen=True)
class Turn:
    """A message and the state of its turn.

    ``attempts`` counts how often the turn was started. ``claim`` is the random token of the process
    that started it last.
    """

    id: int
    message: Inbound
    attempts: int = 0
    answer: Answer | None = None
    claim: str | None = None


class SessionPrivacy(Enum):
    """The privacy of the questions in a session so far. The values are stored in the database."""

    EMPTY = "nothing"
    PUBLIC = "public"
    PRIVATE = "personal"


@dataclass(frozen=True)
class AgentSession:
    """A session at Agentforce; ``used_at`` is when it was last used, in epoch seconds.

    ``privacy_outdated``: the database does not count it as private yet, although it has to once
    something is asked in it.
    """

    id: str
    used_at: float
    privacy_outdated: bool = False


@dataclass(frozen=True)
class Preferences:
    """A sender's preferences: voice notes or not, and a language (ISO 639-1).

    ``None`` means unknown. ``used_at`` is when they were last stored, in epoch seconds.
    """

    voice: bool | None = None
    language: str | None = None
    used_at: float = 0.0


@dataclass(frozen=True)
class Backlog:
    """The numbers of waiting and running turns.

    ``oldest`` is when the oldest waiting one was received, in epoch seconds.
    """

    waiting: int
    running: int
    oldest: float | None


@dataclass(frozen=True)
class AgentReply:
    """The agent's answer to one question.

    ``text`` is Markdown and may be empty. ``escalated``: the agent wants a person to take over.
    ``ended``: the agent ended the session. ``failed``: an action of the agent failed. ``asks``: the
    agent expects an answer or a confirmation.
    """

    text: str = ""
    escalated: bool = False
    ended: bool = False
    failed: bool = False
    asks: bool = False


class CheckState(Enum):
    """The result of one check of the configuration. The values are part of ``/health``."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    # Not tried, because it costs something, or because what it needs has failed.
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CheckResult:
    """One line of ``flask check``.

    ``name`` never changes, as ``twilio_webhook``. ``title`` and ``finding`` are for people.
    ``hint`` says what to do, and is empty if there is nothing to do.
    """

    name: str
    title: str
    state: CheckState
    finding: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """The fields by their names; the state is its value."""
        return asdict(self) | {"state": self.state.value}
