"""Records all calls to the stand-ins, and all violations of the providers' contracts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

# How long callers wait by default, also on a machine that is busy with other things.
WAIT_SECONDS = 120.0


@dataclass(frozen=True)
class Body:
    """What was sent in one direction; ``content`` is empty if it is longer than is kept."""

    content_type: str
    size: int
    content: bytes = b""


@dataclass(eq=False)
class Call:
    """One request that reached a stand-in.

    ``service`` is ``twilio``, ``agentforce`` or ``elevenlabs``; ``name`` is the kind of call
    (``send``, ``token``, ``transcribe``, …). ``at`` is its start and ``ended`` the end of the
    answer, in monotonic seconds. ``ended`` and ``status`` are None until there is an answer.
    ``rule`` is the method and the path, with the names of ids in place of the ids.
    ``port`` is the caller's local port. ``sent`` and ``received`` are the two bodies, if the
    recorder keeps them; of a streamed answer there is none.
    """

    service: str
    name: str
    at: float
    headers: dict[str, str]
    detail: dict[str, Any] = field(default_factory=dict)
    ended: float | None = None
    status: int | None = None
    port: int | None = None
    rule: str = ""
    sent: Body | None = None
    received: Body | None = None


@dataclass(frozen=True)
class Violation:
    """A rule of a provider that a call broke, or a defect that a user would notice."""

    service: str
    call: str
    rule: str


class CallRecorder:
    """Thread-safe; tests read it and wait for changes.

    While ``keeps_bodies`` is set, the bodies of the calls are kept, too.
    """

    def __init__(self) -> None:
        self.keeps_bodies = False
        self._changed = threading.Condition()
        self._calls: list[Call] = []
        self._violations: list[Violation] = []

    def record(self, call: Call) -> None:
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def record_violation(self, service: str, call: str, rule: str) -> None:
        """Record that ``call`` broke ``rule``, which is a short sentence."""
        with self._changed:
            self._violations.append(Violation(service, call, rule))
            self._changed.notify_all()

    def notify(self) -> None:
        """Let :meth:`wait_for` check its condition again, because a stand-in's state changed."""
        with self._changed:
            self._changed.notify_all()

    def calls(self, service: str | None = None, name: str | None = None) -> list[Call]:
        with self._changed:
            return [
                call
                for call in self._calls
                if service in (None, call.service) and name in (None, call.name)
            ]

    @property
    def violations(self) -> list[Violation]:
        with self._changed:
            return list(self._violations)

    def wait_for(self, find: Callable[[], T], timeout: float = WAIT_SECONDS) -> T:
        """Return the first truthy value of ``find()``, called again after each call or change.

        Raises ``TimeoutError`` after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (value := find()):
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError(f"nothing found within {timeout} s")
                self._changed.wait(remaining)
            return value

    def clear(self) -> None:
        with self._changed:
            self._calls.clear()
            self._violations.clear()
