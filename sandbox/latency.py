"""How fast the stand-ins answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LatencyProfile:
    """Seconds that each call takes, on top of the work the stand-in really does."""

    media: float = 0.0
    transcribe: float = 0.0
    token: float = 0.0
    session: float = 0.0
    ask: float = 0.0
    speak: float = 0.0
    speak_per_character: float = 0.0
    send: float = 0.0

    def of(self, call: str) -> float:
        """The delay of a call by its name; calls without a figure take none."""
        return float(getattr(self, call, 0.0))


INSTANT = LatencyProfile()

# As slow as the real providers were for a deployment in production.
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
