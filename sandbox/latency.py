"""Latency profiles: how long the calls of the stand-ins take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LatencyProfile:
    """Seconds that are added to the stand-in's own time, by the name of the call."""

    media: float = 0.0
    transcribe: float = 0.0
    token: float = 0.0
    session: float = 0.0
    ask: float = 0.0
    speak: float = 0.0
    speak_per_character: float = 0.0
    send: float = 0.0

    def delay(self, call: str) -> float:
        """Seconds to add to a call of that name; 0 if the profile does not have it."""
        return float(getattr(self, call, 0.0))


INSTANT = LatencyProfile()

# Typical latencies of the real providers.
REALISTIC = LatencyProfile(
    media=0.45,
    transcribe=1.23,
    session=0.8,
    ask=2.15,
    speak=0.25,
    speak_per_character=0.004,
    send=0.2,
)

LATENCY_PROFILES = {"instant": INSTANT, "realistic": REALISTIC}
