"""Injects the fault of a cell of the failure table."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal, Protocol, get_args

from sandbox.faults import Fault, Faults
from tests.e2e.failures import ANY, Cell
from tests.e2e.fault_proxy import FaultProxy, Way

# Longer than any test waits.
FOR_EVER = 300.0
# At ``PROVIDER_TIMEOUT_FACTOR`` 1: the pause between bytes, with which an answer takes longer than
# a client allows, and the longest wait that a client accepts.
TRICKLE = 1.0
RETRY_AFTER = 20.0

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


def fault_of(cell: Cell, about: str, *, times: int | None, patience: float) -> Fault:
    """The fault of a cell, limited to calls that contain ``about``.

    ``patience`` is the service's ``PROVIDER_TIMEOUT_FACTOR``.
    """
    service, call = CALLS.get(cell.step.name) or _media(cell.fault)
    fault = Fault(service, call, times=times, about=about, **_kind(cell.fault, patience))
    fault = replace(fault, body=BODIES.get((cell.step.name, cell.fault)))
    if cell.step.name in ("text", "voice") and cell.fault == "timeout":
        # Not answered in time, but done.
        fault = replace(fault, kind="vanish")
    return replace(fault, after=1) if cell.step.name == "voice" else fault


def _kind(fault: str, patience: float) -> dict[str, Any]:
    if fault == "trickle":
        return {"kind": "trickle", "seconds": TRICKLE * patience}
    if fault == "429 wait":
        # Whole seconds, as a provider writes them.
        retry_after_seconds = math.ceil(RETRY_AFTER * patience)
        return {"status": 429, "headers": {"Retry-After": str(retry_after_seconds)}}
    return KINDS.get(fault) or {"status": int(fault)}


def _media(fault: str) -> tuple[str, str]:
    return "twilio", "media_cdn" if fault in AT_CDN else "media"
