"""Reads Twilio's status callbacks about the messages that we sent.

docs/providers/twilio.md, "Status callbacks".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from core.errors import MalformedRequest
from whatsapp.inbound import SID

# In characters.
MAX_DETAIL_CHARACTERS = 200
# Seven digits may be a phone number, however they are grouped; Meta's error codes have six. The
# other signs of personal data belong to e-mail addresses, web addresses, user ids and quotations.
_PERSONAL = re.compile(r"(?:\d[\W_]{0,3}){7}|[@\"“”„«»]|://|\b[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]")


class State(Enum):
    """The delivery state of a message."""

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
        """The states between the ``known`` one and this one, this one included.

        Twilio repeats callbacks and sends them in any order, so an earlier state than the known one
        adds nothing, and nothing follows a failure. ``QUEUED`` never counts as new.
        """
        if known and known.is_failure:
            return []
        if self.is_failure:
            return [self]
        reached = _SEQUENCE.index(known) if known else 0
        return _SEQUENCE[reached + 1 : _SEQUENCE.index(self) + 1]


_SEQUENCE = [State.QUEUED, State.SENT, State.DELIVERED, State.READ]
_QUEUED = {"accepted": State.QUEUED, "scheduled": State.QUEUED, "sending": State.QUEUED}


@dataclass(frozen=True)
class Status:
    """``callback`` is the name that the message's ``StatusCallback`` address holds.

    ``state`` is ``None`` if Twilio uses a word that we do not know. ``code`` is Twilio's error code
    and ``detail`` the channel's own text, as far as it may be logged; both only after a failure.
    """

    callback: str
    sid: str
    state: State | None
    code: int | None
    detail: str = ""


def parse_status(query: Mapping[str, str], form: Mapping[str, str]) -> Status:
    """Read a ``POST /status``. Raises ``MalformedRequest``."""
    sid, word = form.get("MessageSid", ""), form.get("MessageStatus", "")
    if not SID.fullmatch(sid) or not word:
        raise MalformedRequest("MessageSid or MessageStatus is missing")
    return Status(
        callback=query.get("sending", ""),
        sid=sid,
        state=_read_state(word),
        code=_read_code(form),
        detail=loggable(form.get("ChannelStatusMessage", "")),
    )


def loggable(text: str) -> str:
    """The text on one line and not too long, or nothing if it may hold personal data."""
    if _PERSONAL.search(text):
        return ""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= MAX_DETAIL_CHARACTERS else f"{line[:MAX_DETAIL_CHARACTERS]}…"


def _read_state(word: str) -> State | None:
    known = {state.value: state for state in State} | _QUEUED
    return known.get(word)


def _read_code(form: Mapping[str, str]) -> int | None:
    code = form.get("ErrorCode", "")
    return int(code) if code.isascii() and code.isdigit() and len(code) <= 6 else None
