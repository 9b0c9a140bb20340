"""What the stand-ins saw: every call, and every breach of a contract."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class Call:
    """One request that reached a stand-in.

    ``service`` is ``twilio``, ``agentforce`` or ``elevenlabs``; ``name`` is the call in that
    service's own vocabulary (``send``, ``token``, ``transcribe``, …); ``at`` is monotonic seconds,
    and so is ``ended``, the end of the answer. It and ``status`` are None until there is an answer.
    ``port`` is the caller's.
    """

    service: str
    name: str
    at: float
    headers: dict[str, str]
    detail: dict[str, Any] = field(default_factory=dict)
    ended: float | None = None
    status: int | None = None
    port: int | None = None


@dataclass(frozen=True)
class Violation:
    """Something the real service would refuse or a user would suffer from."""

    service: str
    call: str
    rule: str


class CallRecorder:
    """A thread-safe record that tests read and wait on."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: list[Call] = []
        self._violations: list[Violation] = []

    def record(self, call: Call) -> None:
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def violate(self, service: str, call: str, rule: str) -> None:
        """Write down that ``rule`` was broken in ``call``."""
        with self._changed:
            self._violations.append(Violation(service, call, rule))
            self._changed.notify_all()

    def touch(self) -> None:
        """Wake the waiters: state outside the call recorder changed."""
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

    def wait_for(self, found: Callable[[], T], timeout: float = 20.0) -> T:
        """Return the first truthy value of ``found()``, looking again whenever something happens.

        Raises ``TimeoutError`` after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (value := found()):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"nothing found within {timeout} s")
                self._changed.wait(left)
            return value

    def clear(self) -> None:
        with self._changed:
            self._calls.clear()
            self._violations.clear()
