"""The switches beside the phone: faults, delays, and the end of a process."""

from __future__ import annotations

import threading
from typing import Any

from sandbox import Sandbox
from sandbox.agentforce.standin import AgentforceStandIn
from sandbox.bridge import BridgeDied, Process
from sandbox.faults import Fault
from sandbox.json_api import InvalidRequest
from sandbox.latency import REALISTIC
from sandbox.phone.service_log import LINES, ServiceLog
from sandbox.phone.turns import Turns
from sandbox.twilio.media import READY, Ready

SLOW_PROVIDERS = "slow_providers"
LATE_RECORDING = "late_recording"
LATE = Ready(seconds=2.0)
# A voice note that WhatsApp could not fetch.
UNDELIVERED = 63019


def _faults() -> dict[str, list[Fault]]:
    """New fault objects of each switch, which last until they are removed."""
    busy = {"kind": "status", "status": 429, "times": None}
    return {
        "agent_fails": [Fault("agentforce", "ask", "status", status=500, times=None)],
        "agent_slow": [Fault("agentforce", "ask", "hang", seconds=20.0, times=None)],
        "speech_limit": [Fault("elevenlabs", call, **busy) for call in ("transcribe", "speak")],  # type: ignore[arg-type]
        "note_undelivered": [Fault("twilio", "voice", "undelivered", code=UNDELIVERED, times=None)],
    }


class Switches:
    """They concern all phones. Thread-safe."""

    names = (SLOW_PROVIDERS, LATE_RECORDING, *_faults())

    def __init__(self, *, sandbox: Sandbox, turns: Turns, log: ServiceLog) -> None:
        self._sandbox = sandbox
        self._turns = turns
        self._log = log
        self._lock = threading.Lock()
        twilio, agentforce = sandbox.twilio, sandbox.agentforce
        self._providers = (twilio, twilio.cdn, agentforce, sandbox.elevenlabs)
        self._usual = [provider.latency for provider in self._providers]
        self._on: dict[str, list[Fault]] = {}
        # When each switch that is off now had an effect.
        self._effects: dict[str, list[float]] = {name: [] for name in self.names}

    def set(self, name: str, on: object) -> None:
        """Raises ``InvalidRequest``."""
        if name not in self.names or not isinstance(on, bool):
            raise InvalidRequest("There is no such switch, or on is neither true nor false.")
        with self._lock:
            if on is not (name in self._on):
                self._turn_on(name) if on else self._turn_off(name)
        self._sandbox.recorder.notify()

    def readiness(self) -> Ready:
        """When the recording of a voice note that is sent now can be fetched."""
        with self._lock:
            return LATE if LATE_RECORDING in self._on else READY

    def view(self) -> list[dict[str, Any]]:
        """Each switch as JSON, with what the service logged when it last had an effect."""
        return [self._view(name) for name in self.names]

    def _view(self, name: str) -> dict[str, Any]:
        moments = self._moments(name)
        with self._lock:
            is_on = name in self._on
        met = self._turns.at(max(moments)) if moments else []
        lines = [line for sent in met for line in self._log.of_turn(sent.sid)]
        return {"name": name, "on": is_on, "times": len(moments), "lines": lines[-LINES:]}

    def _moments(self, name: str) -> list[float]:
        """When the switch had an effect, in monotonic seconds."""
        if name == LATE_RECORDING:
            calls = self._sandbox.recorder.calls("twilio", "media")
            return [call.at for call in calls if call.status == 404]
        with self._lock:
            moments = list(self._effects[name])
            for fault in self._on.get(name, ()):
                moments += self._sandbox.faults.applied(fault)
        return moments

    def _turn_on(self, name: str) -> None:
        self._on[name] = _faults().get(name, [])
        for fault in self._on[name]:
            self._sandbox.faults.add(fault)
        if name == SLOW_PROVIDERS:
            for provider in self._providers:
                provider.latency = REALISTIC

    def _turn_off(self, name: str) -> None:
        for fault in self._on.pop(name):
            self._effects[name] += self._sandbox.faults.remove(fault)
        if name == SLOW_PROVIDERS:
            for provider, latency in zip(self._providers, self._usual, strict=True):
                provider.latency = latency


class KillSwitch:
    """Kills a process of the service, and starts it again. Thread-safe.

    Others may do so, too, so the process is asked for its state. ``log`` is that of the process,
    which calls ``agentforce``.
    """

    def __init__(self, *, process: Process, log: ServiceLog, agentforce: AgentforceStandIn) -> None:
        self._process = process
        self._agentforce = agentforce
        self._log = log
        self._lock = threading.Lock()
        self._changed_at: int | None = None
        self._problem = ""

    def kill(self) -> None:
        """Does nothing if it is not running."""
        with self._lock:
            if self._state() == "running":
                self._changed_at = self._log.length()
                self._process.kill()

    def start(self) -> None:
        """Return when it is ready, or has failed; does nothing if it is not dead."""
        with self._lock:
            if self._state() != "killed":
                return
            self._changed_at, self._problem = self._log.length(), ""
            # The new process does not know the token of the old one.
            self._agentforce.token_clients += 1
        try:
            self._process.start()
        except BridgeDied as error:
            self._problem = str(error)

    def view(self) -> dict[str, Any]:
        lines = [] if self._changed_at is None else self._log.since(self._changed_at)
        return {
            "kind": self._process.kind,
            "state": self._state(),
            "problem": self._problem,
            "lines": lines[:LINES],
        }

    def _state(self) -> str:
        if self._process.is_starting():
            return "starting"
        return "running" if self._process.is_running() else "killed"
