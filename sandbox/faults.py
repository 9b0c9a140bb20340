"""The one place where a cloud is made to fail."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["status", "hang", "reset", "vanish", "cut", "trickle", "junk"]


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

    ``after`` calls pass unharmed first; ``times=None`` lasts until cleared.
    """

    service: str
    call: str
    kind: Kind = "status"
    status: int = 500
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


@dataclass
class _Armed:
    fault: Fault
    skip: int
    left: int | None
