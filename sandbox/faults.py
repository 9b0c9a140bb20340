"""The one place where a provider is made to fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
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
    - ``vanish``: do the work, then after ``seconds`` break the connection without an answer.
    - ``cut``: answer, but break the connection in the middle of the body.
    - ``trickle``: answer one byte every ``seconds``.
    - ``junk``: 200 with a body that is not what the caller expects.

    What Twilio carries to a user is no call of the bot's, and has kinds of its own. Messages named
    ``text`` or ``voice`` end as ``undelivered`` with Twilio's error ``code``. Of the next message,
    ``callback`` strikes all status callbacks: posted ``twice``, in ``reversed`` order, ``early``
    (before the send is answered), or ``unsigned``.

    ``after`` calls pass unharmed first; ``times=None`` lasts until cleared. With ``about`` only
    calls count whose request holds that text: an id, a number, what is asked, heard or spoken.
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
    about: str = ""


class Faults:
    """The faults that are switched on, taken one call at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        with self._changed:
            self._armed.append(_Armed(fault, fault.after, fault.times))

    def remove(self, fault: Fault) -> list[float]:
        """Switch this very one off; returns when it struck (monotonic seconds)."""
        with self._changed:
            gone = [armed for armed in self._armed if armed.fault is fault]
            self._armed = [armed for armed in self._armed if armed.fault is not fault]
            self._changed.notify_all()
        return [moment for armed in gone for moment in armed.struck]

    def clear(self) -> None:
        with self._changed:
            self._armed.clear()
            self._changed.notify_all()

    def take(self, service: str, call: str, subject: Callable[[], str] = str) -> Fault | None:
        """The fault this call must suffer, if any; counts it as used.

        ``subject`` tells what the request is about, where that matters.
        """
        with self._changed:
            known = [armed for armed in self._armed if armed.names(service, call)]
        about = subject() if any(armed.fault.about for armed in known) else ""
        with self._changed:
            concerned = (armed for armed in known if armed.fault.about in about)
            return next((armed.fault for armed in concerned if armed.strikes()), None)

    def hold(self, fault: Fault, seconds: float) -> None:
        """Wait that long, or until the fault is switched off."""
        with self._changed:
            self._changed.wait_for(
                lambda: all(armed.fault is not fault for armed in self._armed), seconds
            )

    def listed(self) -> list[Fault]:
        """The faults that can still strike."""
        with self._changed:
            return [armed.fault for armed in self._armed if armed.left != 0]


def kinds_of(call: str) -> tuple[str, ...]:
    """How a call of that name can go wrong."""
    return CARRIED.get(call, get_args(CallKind))


@dataclass
class _Armed:
    fault: Fault
    skip: int
    left: int | None
    struck: list[float] = field(default_factory=list)

    def names(self, service: str, call: str) -> bool:
        return (self.fault.service, self.fault.call) == (service, call)

    def strikes(self) -> bool:
        """Whether it strikes this call; counts it."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.left == 0:
            return False
        if self.left is not None:
            self.left -= 1
        self.struck.append(time.monotonic())
        return True
