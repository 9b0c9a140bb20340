"""How fast turns could be at best, by the pace of the providers alone.

A bridge that takes no time itself waits for nothing but providers, and for each as early as what it
needs is known. The sender is new: a session is started while the voice note is fetched and heard,
and for a text one is there already, which was started for whoever comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.latency import LatencyProfile


@dataclass(frozen=True)
class Span:
    """What a provider does from when to when, in seconds after the webhook."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Limit:
    """Of turns whose answers end with a sentence of ``last_sentence`` characters; in seconds."""

    latency: LatencyProfile
    last_sentence: int

    @property
    def text_turn(self) -> float:
        """From the webhook of a text until Twilio has taken the answer."""
        return self.latency.ask + self.latency.send

    @property
    def voice_turn(self) -> float:
        """The same for a voice note."""
        return self._answered + self.latency.send

    @property
    def note_after_text(self) -> float:
        """From when Twilio has taken the text until the spoken answer is handed to it.

        Nobody knows that a sentence is the last one, and over, before the agent is done. It is
        spoken while the text is sent; those before it are spoken by then, or beside it.
        """
        return max(self._last_spoken - self.voice_turn, 0.0)

    def spans(self) -> list[Span]:
        """The voice turn, stage by stage."""
        latency, handed_over = self.latency, self.voice_turn + self.note_after_text
        heard = latency.media + latency.transcribe
        asked = max(latency.session, heard)
        return [
            Span("session", 0.0, latency.session),
            Span("media", 0.0, latency.media),
            Span("transcribe", latency.media, heard),
            Span("ask", asked, self._answered),
            Span("text", self._answered, self.voice_turn),
            Span("speak", self._answered, self._last_spoken),
            Span("voice", handed_over, handed_over + latency.send),
        ]

    @property
    def _answered(self) -> float:
        return (
            max(self.latency.session, self.latency.media + self.latency.transcribe)
            + self.latency.ask
        )

    @property
    def _last_spoken(self) -> float:
        speaking = self.latency.speak + self.latency.speak_per_character * self.last_sentence
        return self._answered + speaking
