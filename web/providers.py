"""Whether each provider works, by the calls that were made to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from metrics import Moment
from web.advice import TITLES, error_advice, error_classes
from web.handbook import bad_day

# The kinds of calls, as ``Metrics.watch`` names them, that are judged one by one: if an account may
# speak and not transcribe, each success of the one must not hide the failures of the other.
CALLS = {
    "twilio": ("send", "media"),
    "salesforce": ("token", "session", "answer"),
    "elevenlabs": ("transcription", "synthesis"),
}
# Without these no message is answered.
NEEDED = frozenset({"twilio send", "salesforce token", "salesforce session", "salesforce answer"})
# What was not tried again for this long is no longer shown as failing; but what was refused stays
# so until a call succeeds, because only the operator can mend it.
FORGOTTEN_SECONDS = 3600.0
# The worst comes last.
STATES = ("unused", "working", "failing", "refused", "down")


@dataclass(frozen=True)
class Call:
    """The state of one kind of calls (one of ``STATES``); times are epoch seconds or ``None``."""

    name: str
    state: str
    last_success_at: float | None
    last_failure_at: float | None
    # The class of the last failure, if it is not over.
    error: str = ""


@dataclass(frozen=True)
class Provider:
    """One provider; ``down`` if a circuit breaker of some process is open."""

    name: str
    calls: tuple[Call, ...]
    down: bool

    @property
    def state(self) -> str:
        """One of ``STATES``: that of its worst kind of calls."""
        worst = max((call.state for call in self.calls), key=STATES.index)
        return worst if worst == "refused" or not self.down else "down"

    @property
    def error(self) -> str:
        """The class of the error behind the state; empty if there is none."""
        return max(self.calls, key=lambda call: STATES.index(call.state)).error

    @property
    def last_success_at(self) -> float | None:
        return _latest(call.last_success_at for call in self.calls)

    @property
    def last_failure_at(self) -> float | None:
        return _latest(call.last_failure_at for call in self.calls)

    @property
    def title(self) -> str:
        return TITLES[self.name]

    @property
    def link(self) -> str:
        """What to do about it."""
        return error_advice(self.error)["link"] or bad_day(self.title)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "state": self.state,
            "last_success_at": self.last_success_at,
            "last_failure_at": self.last_failure_at,
            "error": self.error,
            "advice": error_advice(self.error)["advice"] if self.error else "",
            "link": self.link,
        }


def providers(moments: Mapping[str, Moment], down: Collection[str], now: float) -> list[Provider]:
    """All providers; ``down`` are those that ``/health`` names, ``now`` in epoch seconds."""
    return [
        Provider(
            name,
            tuple(_call(f"{name} {kind}", moments, now) for kind in kinds),
            name in _BREAKERS and any(each.startswith(_BREAKERS[name]) for each in down),
        )
        for name, kinds in CALLS.items()
    ]


# How the names of their circuit breakers begin; Twilio has none.
_BREAKERS = {"salesforce": "Agentforce", "elevenlabs": "ElevenLabs"}


def _call(name: str, moments: Mapping[str, Moment], now: float) -> Call:
    succeeded, failed = moments.get(f"ok {name}"), moments.get(f"failed {name}")
    success_at = succeeded.last if succeeded else None
    if failed is None:
        return Call(name, "working" if succeeded else "unused", success_at, None)
    state = _state_of(failed.detail)
    if failed.last < (success_at or 0.0):
        return Call(name, "working", success_at, failed.last)
    if state == "failing" and failed.last < now - FORGOTTEN_SECONDS:
        return Call(name, "unused", success_at, failed.last)
    return Call(name, state, success_at, failed.last, failed.detail)


def _state_of(error: str) -> str:
    known = error_classes().get(error)
    return (known.provider_state if known else "") or "failing"


def _latest(times: Any) -> float | None:
    return max((each for each in times if each is not None), default=None)
