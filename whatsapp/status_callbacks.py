"""What a status callback of Twilio says of a message we sent.

docs/providers/twilio.md, "Status callbacks".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from core.errors import MalformedRequest
from whatsapp.inbound import SID


class State(Enum):
    """How far a message has come."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    UNDELIVERED = "undelivered"
    FAILED = "failed"

    @property
    def is_failure(self) -> bool:
        return self in (State.UNDELIVERED, State.FAILED)

    def new_states_after(self, known: State | None) -> list[State]:
        """What this says beyond what is known: the states that were passed, without ``QUEUED``.

        Callbacks come repeated and in any order, so one that says less says nothing; what is lost
        stays lost.
        """
        if known and known.is_failure:
            return []
        if self.is_failure:
            return [self]
        reached = _WAY.index(known) if known else 0
        return _WAY[reached + 1 : _WAY.index(self) + 1]


_WAY = [State.QUEUED, State.SENT, State.DELIVERED, State.READ]
_EARLIER = {"accepted": State.QUEUED, "scheduled": State.QUEUED, "sending": State.QUEUED}


@dataclass(frozen=True)
class Status:
    """``callback`` names the sending, as its ``StatusCallback`` did.

    ``state`` is ``None`` where Twilio has a new word for it, ``code`` where nothing failed.
    """

    callback: str
    sid: str
    state: State | None
    code: int | None


def parse_status(query: Mapping[str, str], form: Mapping[str, str]) -> Status:
    """Read a ``POST /status``. Raises ``MalformedRequest``."""
    sid, word = form.get("MessageSid", ""), form.get("MessageStatus", "")
    if not SID.fullmatch(sid) or not word:
        raise MalformedRequest("MessageSid or MessageStatus is missing")
    return Status(callback=query.get("sending", ""), sid=sid, state=_state(word), code=_code(form))


def _state(word: str) -> State | None:
    known = {state.value: state for state in State} | _EARLIER
    return known.get(word)


def _code(form: Mapping[str, str]) -> int | None:
    code = form.get("ErrorCode", "")
    return int(code) if code.isascii() and code.isdigit() and len(code) <= 6 else None
