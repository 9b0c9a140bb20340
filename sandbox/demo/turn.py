"""One spoken question through a running bridge, watched to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox import Sandbox
from sandbox.call_recorder import Call
from sandbox.demo.endpoints import report
from sandbox.twilio.messages import Outbound

# A turn takes seconds; the bridge itself gives a slow agent up after 125 s.
PATIENCE_SECONDS = 150.0
# How often the bridge is asked whether it has given the turn up.
LOOK_SECONDS = 0.5
GONE = "The bridge does not answer any more."


@dataclass
class Turn:
    """What came of a voice note; times are monotonic seconds.

    ``texts`` and ``voice`` are the answers, ``fetched`` is when the recording was here, ``heard``
    what the bridge was told that the user said. ``failure`` is a sentence, empty when all is well.
    """

    sent: float
    acknowledged: float
    calls: list[Call] = field(default_factory=list)
    texts: list[Outbound] = field(default_factory=list)
    voice: Outbound | None = None
    fetched: float | None = None
    heard: str = ""
    failure: str = ""

    @property
    def answer(self) -> str:
        """All that the user got to read."""
        return "\n\n".join(text.body for text in self.texts)

    @property
    def spoken(self) -> str:
        """What the bridge had spoken, its pieces in the order that they name: they come as it may.

        It differs from ``answer``, where nobody reads addresses and code aloud.
        """
        bodies = [call.detail["body"] for call in self.calls if "body" in call.detail]
        following = {body.get("previous_text"): body["text"] for body in bodies}
        piece = following.get(None)
        pieces: list[str] = []
        while piece is not None and piece not in pieces:
            pieces.append(piece)
            piece = following.get(piece)
        return "\n".join(pieces)


class Exchange:
    """A voice note of ``user`` and what the bridge at ``bridge_url`` makes of it."""

    def __init__(self, *, sandbox: Sandbox, bridge_url: str, user: str) -> None:
        self._sandbox = sandbox
        self._metrics_url = f"{bridge_url}/metrics"
        self._user = user
        self._before = report(self._metrics_url)
        self._messages = len(sandbox.twilio.messages(user))
        self._transcriptions = len(sandbox.elevenlabs.transcriptions)

    def send(self, recording: bytes, content_type: str = "audio/ogg") -> Turn:
        """Post the voice note to the webhook; the turn has failed where that refuses it."""
        delivery = self._sandbox.twilio.speak(self._user, recording, content_type=content_type)
        acknowledged = time.monotonic()
        turn = Turn(sent=acknowledged - delivery.seconds, acknowledged=acknowledged)
        if not delivery.status:
            turn.failure = GONE
        elif delivery.status != 200:
            turn.failure = f"The webhook refused the voice note (HTTP {delivery.status})."
        return turn

    def finish(
        self,
        turn: Turn,
        *,
        patience: float = PATIENCE_SECONDS,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait for the spoken answer, or for what keeps it away, and complete ``turn``.

        ``meanwhile`` is called every now and then.
        """
        if not turn.failure:
            self._await_voice(turn, patience, meanwhile)
        turn.texts = [message for message in self._answers() if not message.media_url]
        heard = self._sandbox.elevenlabs.transcriptions[self._transcriptions :]
        turn.heard = " ".join(each.transcript.text for each in heard[:1])
        turn.calls = [call for call in self._sandbox.recorder.calls() if call.at >= turn.sent]

    def _await_voice(self, turn: Turn, patience: float, meanwhile: Callable[[], None]) -> None:
        deadline = turn.sent + patience
        while turn.voice is None:
            meanwhile()
            try:
                turn.voice = self._sandbox.recorder.wait_for(self._settled, LOOK_SECONDS)[0]
            except TimeoutError:
                late = f"No voice answer came within {patience:.0f} s."
                overdue = late if time.monotonic() > deadline else ""
                turn.failure = _given_up(self._before, report(self._metrics_url)) or overdue
                if turn.failure:
                    return
        turn.fetched = time.monotonic()
        if turn.voice.audio is None:
            error = turn.voice.error_code
            turn.failure = f"The voice answer was not delivered (Twilio error {error})."

    def _answers(self) -> list[Outbound]:
        return self._sandbox.twilio.messages(self._user)[self._messages :]

    def _settled(self) -> list[Outbound]:
        """The voice notes that have arrived, or never will."""
        voices = [each for each in self._answers() if each.media_url]
        return [each for each in voices if each.audio is not None or each.error_code is not None]


def _given_up(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Why the bridge gave the turn up; empty while it has not."""
    if not now:
        return GONE
    errors = [
        name for name, count in now["errors"].items() if count > before["errors"].get(name, 0)
    ]
    reason = f" ({', '.join(errors)})" if errors else ""
    for counter, sentence in (
        ("turns_failed", "The bridge could not answer"),
        ("voice_notes_failed", "The answer came as text only: it could not be spoken or sent"),
    ):
        if now["counters"][counter] > before["counters"][counter]:
            return f"{sentence}{reason}."
    return ""
