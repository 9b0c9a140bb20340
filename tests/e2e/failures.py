"""What breaks, and what then is to happen: the data of docs/failures.md and of its tests.

The expectations follow docs/architecture.md and docs/providers/, not the code. Times are in
seconds, at ``PROVIDER_TIMEOUT_FACTOR`` 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

# Pauses last up to a fifth longer than they are said to.
JITTER = 1.2
TURN_SECONDS = 150.0
SEND_SECONDS = 600.0

FAULTS = {
    "refused": "connection refused",
    "tls": "TLS error",
    "stalled": "connecting hangs",
    "timeout": "no answer",
    "reset": "reset in mid-answer",
    "401": "401",
    "403": "403",
    "404": "404",
    "423": "423",
    "429": "429",
    "429 wait": "429 with `Retry-After`",
    "500": "500",
    "503": "503",
    "junk": "200 with junk",
    "trickle": "endless trickle",
}
# What strikes a host, and all who call it.
UNREACHABLE = ("refused", "tls", "stalled")
# All of them, where nobody tells them apart.
ANY = "any"

# What the user reads beside the sentences of phrases.toml.
ANSWER = "the answer, once, as soon as Twilio accepts it"
TEXT = "the answer as text; no voice note comes, and no message explains that"
IF_TAKEN = "the answer as text; the voice note comes only if Twilio had accepted it"


@dataclass(frozen=True)
class Tries:
    """When a call is made again, in words and in numbers.

    ``delays`` are the pauses after the first tries, ``patience`` is for how long tries go on after
    them, ``pause`` the longest between two, ``number`` how many tries there are where that does
    not follow from the delays.
    """

    words: str
    delays: tuple[float, ...] = ()
    patience: float = 0.0
    pause: float = 0.0
    number: int | None = None

    @property
    def least(self) -> int:
        """How many tries there are, or more where there is ``patience``."""
        return self.number or len(self.delays) + 1

    @property
    def waits(self) -> float:
        """The longest that all pauses take together."""
        delays = sum(max(delay * JITTER, self.pause) for delay in self.delays)
        return max(delays, self.patience and self.patience + max(self.pause, 5.0 * JITTER))


NEVER = Tries("no")
LONG = (0.5, 1.0, 2.0, 4.0, 8.0)
SHORT = (0.5, 1.0, 2.0)
FIVE = Tries("5 times, after 0.5, 1, 2, 4 and 8 s", LONG)
FIVE_AS_TOLD = Tries("5 times, as late as told, by 20 s at most", LONG, pause=20.0)
THREE = Tries("3 times, after 0.5, 1 and 2 s", SHORT)
TWICE = Tries("twice, after 0.5 and 1 s", SHORT[:2])
# There is no time for more where told to wait for 20 s or longer.
THREE_AS_TOLD = Tries("up to 3 times, as late as told, by 20 s at most", SHORT[:1], pause=20.0)
MINUTE = Tries("for a minute, at last every 5 s", LONG, patience=60.0)
MINUTE_AS_TOLD = Tries("for a minute, as late as told, by 20 s at most", LONG, 60.0, pause=20.0)
MINUTE_OF_SPEECH = Tries(MINUTE.words, SHORT, patience=60.0)
MINUTE_OF_SPEECH_AS_TOLD = Tries(MINUTE_AS_TOLD.words, SHORT, 60.0, pause=20.0)
UNLOCKED = Tries("for 130 s, at last every 5 s", LONG, patience=130.0)
NEW_TOKEN = Tries("once, with a new token", number=2)
NEW_SESSION = Tries("once, in a new session", number=2)
# The text of an answer is held up until Twilio takes it.
HELD_UP = Tries("5 times, after 0.5, 1, 2, 4 and 8 s, and so on every 5 s", LONG)
LOOKED_UP = Tries("every 5 s, if Twilio's list does not show it after 1 s")
AS_MP3 = Tries("once, as MP3", number=2)


@dataclass(frozen=True)
class Row:
    """``faults`` that all end alike; ``each`` is how long a try may take.

    ``end`` says when it is given up, where that does not follow from the tries.
    """

    faults: tuple[str, ...]
    tries: Tries
    reads: str
    each: float = 0.0
    end: str = ""

    @property
    def seconds(self) -> float:
        """The longest from the first try to the end."""
        return min(self.tries.least * self.each + self.tries.waits, TURN_SECONDS)


@dataclass(frozen=True)
class Step:
    """A call of a provider. ``senseless`` are faults that cannot happen there, and why."""

    name: str
    title: str
    rows: tuple[Row, ...]
    remark: str = ""
    senseless: Mapping[str, str] = field(default_factory=dict, hash=False)


def row(faults: str, tries: Tries, reads: str, each: float = 0.0, end: str = "") -> Row:
    """Build a row; ``faults`` are names separated by commas."""
    return Row(tuple(faults.split(", ")), tries, reads, each, end)


LOCKED = {"423": "only a question can meet a locked session"}
WITH_THE_TURN = "with the turn, after 150 s"
TEN_MINUTES = "10 min after the message came"

STEPS = (
    Step(
        "token",
        "Salesforce gives no token",
        (
            row("refused, tls, reset, 429, 500, 503, junk", FIVE, "agent_failed"),
            row("stalled", FIVE, "agent_failed", each=5.0),
            row("429 wait", FIVE_AS_TOLD, "agent_failed"),
            row("timeout", FIVE, "agent_failed", each=10.0),
            row("trickle", FIVE, "agent_failed", each=20.0),
            row("401, 403, 404", NEVER, "agent_failed"),
        ),
        "All turns wait for the same token. The log has the reason that Salesforce gives.",
        LOCKED,
    ),
    Step(
        "session",
        "Agentforce starts no session",
        (
            row("refused, tls, reset, 500, 503, junk", FIVE, "agent_failed"),
            row("stalled", FIVE, "agent_failed", each=5.0),
            row("timeout", FIVE, "agent_failed", each=20.0),
            row("trickle", FIVE, "agent_failed", each=10.0),
            row("429", MINUTE, "agent_busy"),
            row("429 wait", MINUTE_AS_TOLD, "agent_busy"),
            row("401", NEW_TOKEN, "agent_failed"),
            row("403, 404", NEVER, "agent_failed"),
        ),
        "A 500 that blames the agent's id or set-up counts like 403.",
        LOCKED,
    ),
    Step(
        "ask",
        "Agentforce gives no answer",
        (
            row("refused, tls", FIVE, "agent_failed"),
            row("stalled", FIVE, "agent_failed", each=5.0),
            row("timeout", NEVER, "agent_failed", each=125.0),
            row("trickle", NEVER, "agent_failed", each=TURN_SECONDS, end=WITH_THE_TURN),
            row("reset, 500, 503, junk", NEVER, "agent_failed"),
            row("423", UNLOCKED, "agent_busy"),
            row("429", MINUTE, "agent_busy"),
            row("429 wait", MINUTE_AS_TOLD, "agent_busy"),
            row("401", NEW_TOKEN, "agent_failed"),
            row("404", NEW_SESSION, "agent_failed"),
            row("403", NEVER, "agent_failed"),
        ),
        "A question that may have reached the agent is not asked again: it may have acted.",
    ),
    Step(
        "media",
        "Twilio does not deliver the recording",
        (
            row("refused, tls, reset, 404, 429, 500, 503", THREE, "media_missing"),
            row("stalled", THREE, "media_missing", each=5.0),
            row("429 wait", THREE_AS_TOLD, "media_missing", end="after 30 s"),
            row("timeout", TWICE, "media_missing", each=10.0, end="after 30 s"),
            row("trickle", NEVER, "media_missing", each=30.0),
            row("401, 403", NEVER, "media_missing"),
            row("junk", NEVER, "audio_unreadable"),
        ),
        "All tries together may take 30 s.",
        LOCKED,
    ),
    Step(
        "transcribe",
        "ElevenLabs does not transcribe",
        (
            row("refused, tls, reset, 500, 503, junk", THREE, "speech_failed"),
            row("stalled", THREE, "speech_failed", each=5.0),
            row("timeout", THREE, "speech_failed", each=30.0),
            row("trickle", NEVER, "speech_failed", each=TURN_SECONDS, end=WITH_THE_TURN),
            row("429", MINUTE_OF_SPEECH, "speech_failed"),
            row("429 wait", MINUTE_OF_SPEECH_AS_TOLD, "speech_failed"),
            row("401, 403, 404", NEVER, "speech_failed"),
        ),
        "“No answer” means after 30 s, and 0.2 s more for each second of the recording.",
        LOCKED,
    ),
    Step(
        "speak",
        "ElevenLabs does not synthesise",
        (
            row("refused, tls, reset, 500, 503, junk", THREE, TEXT),
            row("stalled", THREE, TEXT, each=5.0),
            row("timeout", THREE, TEXT, each=30.0),
            row("trickle", NEVER, TEXT, each=TURN_SECONDS, end="150 s after the text"),
            row("429", MINUTE_OF_SPEECH, TEXT),
            row("429 wait", MINUTE_OF_SPEECH_AS_TOLD, TEXT),
            row("401, 403, 404", NEVER, TEXT),
        ),
        "If ElevenLabs refuses the output format, nothing fails: for an hour the service asks for "
        "MP3 and encodes it itself.",
        LOCKED,
    ),
    Step(
        "text",
        "Twilio does not accept the text",
        (
            row("refused, tls, 429, 429 wait", HELD_UP, ANSWER, end=TEN_MINUTES),
            row("stalled", HELD_UP, ANSWER, each=5.0, end=TEN_MINUTES),
            row("timeout, reset, trickle", LOOKED_UP, ANSWER, each=10.0, end=TEN_MINUTES),
            row("500, 503, junk", LOOKED_UP, ANSWER, end=TEN_MINUTES),
            row("401, 403, 404", NEVER, "failed"),
        ),
        "The agent is not asked again, and the sender's next message waits. If Twilio refuses the "
        "apology too, the sender reads nothing. Twilio's SDK hides `Retry-After`.",
        LOCKED,
    ),
    Step(
        "voice",
        "Twilio does not accept the voice note",
        (
            row("refused, tls, 429, 429 wait", FIVE, TEXT),
            row("stalled", FIVE, TEXT, each=5.0),
            row("timeout, reset, trickle", NEVER, IF_TAKEN, each=10.0),
            row("500, 503, junk", NEVER, IF_TAKEN),
            row("401, 403, 404", NEVER, TEXT),
        ),
        "No voice note is better than the same voice note twice.",
        LOCKED,
    ),
    Step(
        "fetch",
        "Twilio cannot fetch our voice note",
        (row(ANY, AS_MP3, TEXT, end="when that is not fetched either"),),
        "Twilio says so in a status callback (63019 or 63021), without the reason. If the MP3 is "
        "not fetched either, that is the end.",
    ),
)


Scope = Literal["user", "newcomers", "everybody"]


@dataclass(frozen=True)
class Cell:
    """One fault in one step; ``scope`` says which users it affects."""

    step: Step
    fault: str
    row: Row

    @property
    def id(self) -> str:
        return f"{self.step.name}-{self.fault.replace(' ', '-')}"

    @property
    def scope(self) -> Scope:
        if self.step.name == "token" or self.fault in UNREACHABLE:
            return "everybody"
        return "newcomers" if self.step.name == "session" else "user"

    @property
    def accepted_without_answer(self) -> bool:
        """Whether Twilio has accepted the message although its answer did not arrive."""
        return self.fault in ("timeout", "reset", "trickle")

    @property
    def strikes(self) -> int | None:
        """How often it strikes; ``None`` for as long as it is tried.

        The text of an answer is tried until it is taken, or until the provider says no.
        """
        if self.step.name != "text" or self.accepted_without_answer:
            return None
        if self.row.tries is NEVER:
            return 1
        return 3 if self.row.tries is LOOKED_UP else len(LONG) + 3


def cells() -> Iterator[Cell]:
    """All combinations of step and fault that the table describes."""
    for step in STEPS:
        for each in step.rows:
            yield from (Cell(step, fault, each) for fault in each.faults)


def missing(step: Step) -> set[str]:
    """The faults that the table does not describe for this step."""
    said = set(chain.from_iterable(each.faults for each in step.rows))
    return set() if ANY in said else set(FAULTS) - said - set(step.senseless)
