"""The critical path of a turn: the shortest time that the providers' latencies allow.

A bridge that takes no time itself waits only for providers, and calls each of them as soon as its
input is known. The sender is new. Their session starts while the voice note is downloaded and
transcribed; for a text, a spare session is ready.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.latency import LatencyProfile


@dataclass(frozen=True)
class Span:
    """The start and end of a provider's work, in seconds after the webhook."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class CriticalPath:
    """Lower bounds, in seconds, for turns with this ``latency``.

    ``last_sentence_length`` is the number of characters in the last sentence of the answer.
    """

    latency: LatencyProfile
    last_sentence_length: int

    @property
    def text_turn(self) -> float:
        """From the webhook of a text until Twilio has accepted the answer."""
        return self.latency.ask + self.latency.send

    @property
    def voice_turn(self) -> float:
        """From the webhook of a voice note until Twilio has accepted the text answer."""
        return self._answer_at + self.latency.send

    @property
    def note_after_text(self) -> float:
        """From when Twilio has accepted the text until it receives the voice note.

        The last sentence is known to be complete only when the agent is done. It is synthesized
        while the text is sent; earlier sentences are synthesized before or beside it.
        """
        return max(self._synthesis_end - self.voice_turn, 0.0)

    def spans(self) -> list[Span]:
        """The stages of the voice turn."""
        latency, note_sent = self.latency, self.voice_turn + self.note_after_text
        transcript_at = latency.media + latency.transcribe
        ask_at = max(latency.session, transcript_at)
        return [
            Span("session", 0.0, latency.session),
            Span("media", 0.0, latency.media),
            Span("transcribe", latency.media, transcript_at),
            Span("ask", ask_at, self._answer_at),
            Span("text", self._answer_at, self.voice_turn),
            Span("speak", self._answer_at, self._synthesis_end),
            Span("voice", note_sent, note_sent + latency.send),
        ]

    @property
    def _answer_at(self) -> float:
        transcript_at = self.latency.media + self.latency.transcribe
        return max(self.latency.session, transcript_at) + self.latency.ask

    @property
    def _synthesis_end(self) -> float:
        characters = self.last_sentence_length
        return self._answer_at + self.latency.speak + self.latency.speak_per_character * characters
