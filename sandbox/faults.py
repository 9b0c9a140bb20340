"""Fault injection: makes calls of the stand-ins fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

CallKind = Literal["status", "hang", "reset", "vanish", "cut", "trickle", "junk"]
CallbackKind = Literal["twice", "reversed", "early", "unsigned"]
Kind = Literal[CallKind, "undelivered", CallbackKind]

# The kinds of faults for Twilio's own deliveries to users and callbacks to the bot.
DELIVERY_KINDS: dict[str, tuple[str, ...]] = {
    "text": ("undelivered",),
    "voice": ("undelivered",),
    "callback": get_args(CallbackKind),
}


@dataclass(frozen=True)
class Fault:
    """How the next ``times`` calls named ``call`` of ``service`` fail.

    ``kind``:

    - ``status``: answer ``status`` in the service's own error form (``body`` replaces it).
    - ``hang``: wait ``seconds``, then answer as usual.
    - ``reset``: break the connection before anything happens.
    - ``vanish``: do the work, then after ``seconds`` break the connection without an answer.
    - ``cut``: answer, but break the connection in the middle of the body.
    - ``trickle``: answer one byte every ``seconds``.
    - ``junk``: 200 with a body that is not what the caller expects.

    Twilio's deliveries are not calls of the bot and have other kinds. A delivery of a ``text`` or
    ``voice`` ends as ``undelivered`` with Twilio's error ``code``. A fault of ``callback`` applies
    to all status callbacks of the next message: they are posted ``twice``, in ``reversed`` order,
    ``early`` (before the send is answered), or ``unsigned``.

    The first ``after`` calls succeed; with ``times=None`` the fault lasts until it is cleared. With
    ``about`` only requests count that contain that text: an id, a number, a question, the words of
    a recording, or the text to synthesize.
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
    """The faults that are switched on. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._armed: list[_ArmedFault] = []

    def add(self, fault: Fault) -> None:
        with self._changed:
            self._armed.append(_ArmedFault(fault, fault.after, fault.times))

    def remove(self, fault: Fault) -> list[float]:
        """Switch off this fault object; returns when it was applied (monotonic seconds)."""
        with self._changed:
            removed = [armed for armed in self._armed if armed.fault is fault]
            self._armed = [armed for armed in self._armed if armed.fault is not fault]
            self._changed.notify_all()
        return [moment for armed in removed for moment in armed.applied_at]

    def applied(self, fault: Fault) -> list[float]:
        """When this fault object was applied (monotonic seconds); empty once it is removed."""
        with self._changed:
            armed = [armed for armed in self._armed if armed.fault is fault]
            return [moment for each in armed for moment in each.applied_at]

    def clear(self) -> None:
        with self._changed:
            self._armed.clear()
            self._changed.notify_all()

    def take(self, service: str, call: str, subject: Callable[[], str] = str) -> Fault | None:
        """The fault to apply to this call, if any; counts as one of its ``times``.

        ``subject`` returns the text in which ``about`` is searched. It is called only if needed.
        """
        with self._changed:
            candidates = [armed for armed in self._armed if armed.matches(service, call)]
        text = subject() if any(armed.fault.about for armed in candidates) else ""
        with self._changed:
            matching = (armed for armed in candidates if armed.fault.about in text)
            return next((armed.fault for armed in matching if armed.apply()), None)

    def wait(self, fault: Fault, seconds: float) -> None:
        """Wait that long, or until the fault is switched off."""
        with self._changed:
            self._changed.wait_for(
                lambda: all(armed.fault is not fault for armed in self._armed), seconds
            )

    def active(self) -> list[Fault]:
        """The faults that still apply to future calls."""
        with self._changed:
            return [armed.fault for armed in self._armed if armed.remaining != 0]


def kinds_of(call: str) -> tuple[str, ...]:
    """The kinds of faults that a call of that name can have."""
    return DELIVERY_KINDS.get(call, get_args(CallKind))


@dataclass
class _ArmedFault:
    fault: Fault
    skip: int
    remaining: int | None
    applied_at: list[float] = field(default_factory=list)

    def matches(self, service: str, call: str) -> bool:
        return (self.fault.service, self.fault.call) == (service, call)

    def apply(self) -> bool:
        """Count a matching call; returns whether the fault applies to it."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.remaining == 0:
            return False
        if self.remaining is not None:
            self.remaining -= 1
        self.applied_at.append(time.monotonic())
        return True
