"""Injects the fault of a cell of the failure table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Protocol, get_args

from sandbox.faults import Fault, Faults
from tests.e2e.failures import ANY, Cell
from tests.e2e.fault_proxy import FaultProxy, Way

# Longer than any test waits. TRICKLE is the pause between bytes, longer than a client allows.
FOR_EVER = 300.0
TRICKLE = 0.05
RETRY_AFTER = 1

Host = Literal["login", "agent", "cdn", "elevenlabs", "twilio"]
CALLS = {
    "token": ("agentforce", "token"),
    "session": ("agentforce", "session"),
    "ask": ("agentforce", "ask"),
    "transcribe": ("elevenlabs", "transcribe"),
    "speak": ("elevenlabs", "speak"),
    "text": ("twilio", "send"),
    "voice": ("twilio", "send"),
    "fetch": ("twilio", "voice"),
}
HOSTS: dict[str, Host] = {
    "token": "login",
    "session": "agent",
    "ask": "agent",
    "media": "cdn",
    "transcribe": "elevenlabs",
    "speak": "elevenlabs",
    "text": "twilio",
    "voice": "twilio",
}
# Twilio's API names a recording, its CDN delivers it.
AT_CDN = ("timeout", "reset", "403", "trickle")
KINDS: dict[str, dict[str, Any]] = {
    "timeout": {"kind": "hang", "seconds": FOR_EVER},
    "reset": {"kind": "cut"},
    "junk": {"kind": "junk"},
    "trickle": {"kind": "trickle", "seconds": TRICKLE},
    "429 wait": {"status": 429, "headers": {"Retry-After": str(RETRY_AFTER)}},
    ANY: {"kind": "undelivered", "code": 63019},
}
# With their usual bodies these statuses would mean another failure.
PLAIN = '{"status": 500, "error": "InternalServerError", "message": "Unexpected error"}'
BODIES = {
    ("token", "500"): PLAIN,
    ("session", "500"): PLAIN,
    ("ask", "500"): PLAIN,
    ("session", "404"): '{"status": 404, "message": "No valid version available"}',
    ("speak", "403"): '{"detail": {"type": "authorization_error", "code": "forbidden"}}',
}


class FaultInjection(Protocol):
    """A fault that is in effect until ``mend``."""

    def mend(self) -> list[float] | None:
        """End the fault and return when it occurred (monotonic seconds), or ``None`` if unknown."""


class Broken:
    """A call that a stand-in makes fail."""

    def __init__(self, faults: Faults, fault: Fault) -> None:
        self._faults = faults
        self._fault = fault
        faults.add(fault)

    def mend(self) -> list[float]:
        return self._faults.remove(self._fault)


class Shut:
    """A host that a proxy makes unreachable."""

    def __init__(self, fault_proxy: FaultProxy, fault: str) -> None:
        self._fault_proxy = fault_proxy
        self._before = len(fault_proxy.turned_away)
        self._way = fault_proxy.way = next(way for way in get_args(Way) if way == fault)

    def mend(self) -> list[float] | None:
        self._fault_proxy.way = "open"
        return None if self._way == "refused" else self._fault_proxy.turned_away[self._before :]


def fault_of(cell: Cell, about: str, *, times: int | None) -> Fault:
    """The fault of a cell, limited to calls that contain ``about``."""
    service, call = CALLS.get(cell.step.name) or _media(cell.fault)
    status = {"status": int(cell.fault)} if cell.fault.isdecimal() else {}
    fault = Fault(service, call, times=times, about=about, **(KINDS.get(cell.fault) or status))
    fault = replace(fault, body=BODIES.get((cell.step.name, cell.fault)))
    if cell.step.name in ("text", "voice") and cell.fault == "timeout":
        # Not answered in time, but done.
        fault = replace(fault, kind="vanish")
    return replace(fault, after=1) if cell.step.name == "voice" else fault


def _media(fault: str) -> tuple[str, str]:
    return "twilio", "media_cdn" if fault in AT_CDN else "media"
