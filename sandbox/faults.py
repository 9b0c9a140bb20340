"""The one place where a cloud is made to fail."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal, get_args

CallKind = Literal["status", "hang", "reset", "vanish", "cut", "trickle", "junk"]
CallbackKind = Literal["twice", "reversed", "early", "unsigned"]
Kind = Literal[CallKind, "undelivered", CallbackKind]

# What Twilio does by itself, and how that goes wrong.
CARRIED: dict[str, tuple[str, ...]] = {
    "text": ("undelivered",),
    "voice": ("undelivered",),
    "callback": get_args(CallbackKind),
}


@dataclass(frozen=True)
class Fault:
    """How the next ``times`` calls named ``call`` of ``service`` go wrong.

    ``kind``:

    - ``status``: answer ``status`` in the service's own error form (``body`` replaces it).
    - ``hang``: wait ``seconds``, then answer as usual.
    - ``reset``: break the connection before anything happens.
    - ``vanish``: do the work, then break the connection without an answer.
    - ``cut``: answer, but break the connection in the middle of the body.
    - ``trickle``: answer one byte every ``seconds``.
    - ``junk``: 200 with a body that is not what the caller expects.

    What Twilio carries to a user is no call of the bot's, and has kinds of its own. Messages named
    ``text`` or ``voice`` end as ``undelivered`` with Twilio's error ``code``. Of the next message,
    ``callback`` strikes all status callbacks: posted ``twice``, in ``reversed`` order, ``early``
    (before the send is answered), or ``unsigned``.

    ``after`` calls pass unharmed first; ``times=None`` lasts until cleared.
    """

    service: str
    call: str
    kind: Kind = "status"
    status: int = 500
    code: int = 0
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    times: int | None = 1
    after: int = 0


class Faults:
    """The faults that are switched on, taken one call at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._armed.append(_Armed(fault, fault.after, fault.times))

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()

    def take(self, service: str, call: str) -> Fault | None:
        """The fault this call must suffer, if any; counts it as used."""
        with self._lock:
            for armed in self._armed:
                if (armed.fault.service, armed.fault.call) != (service, call):
                    continue
                if armed.skip > 0:
                    armed.skip -= 1
                    continue
                if armed.left is None:
                    return armed.fault
                if armed.left > 0:
                    armed.left -= 1
                    return armed.fault
            return None

    def listed(self) -> list[Fault]:
        """The faults that can still strike."""
        with self._lock:
            return [armed.fault for armed in self._armed if armed.left != 0]


def kinds_of(call: str) -> tuple[str, ...]:
    """How a call of that name can go wrong."""
    return CARRIED.get(call, get_args(CallKind))


@dataclass
class _Armed:
    fault: Fault
    skip: int
    left: int | None
