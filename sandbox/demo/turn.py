"""One spoken question through a running bridge, watched to its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import requests

from sandbox import Sandbox
from sandbox.ledger import Call
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
        following = {body["text"]: body.get("next_text") for body in bodies}
        firsts = [body["text"] for body in bodies if not body.get("previous_text")]
        piece = firsts[0] if firsts else None
        pieces: list[str] = []
        while piece is not None and piece not in pieces:
            pieces.append(piece)
            piece = following.get(piece)
        return "\n".join(pieces)


def take_turn(
    sandbox: Sandbox,
    bridge_url: str,
    *,
    user: str,
    recording: bytes,
    content_type: str = "audio/ogg",
    patience: float = PATIENCE_SECONDS,
) -> Turn:
    """Let ``user`` send a voice note, and wait for the spoken answer or for what kept it away."""
    before = _metrics(bridge_url)
    messages = len(sandbox.twilio.messages(user))
    transcriptions = len(sandbox.elevenlabs.transcriptions)
    delivery = sandbox.twilio.speak(user, recording, content_type=content_type)
    acknowledged = time.monotonic()
    turn = Turn(sent=acknowledged - delivery.seconds, acknowledged=acknowledged)
    if delivery.status == 200:
        _await_voice(turn, sandbox, bridge_url, user, messages, before, patience)
    elif delivery.status:
        turn.failure = f"The webhook refused the voice note (HTTP {delivery.status})."
    else:
        turn.failure = GONE
    answers = sandbox.twilio.messages(user)[messages:]
    turn.texts = [message for message in answers if not message.media_url]
    turn.heard = " ".join(
        each.heard.text for each in sandbox.elevenlabs.transcriptions[transcriptions:][:1]
    )
    turn.calls = [call for call in sandbox.ledger.calls() if call.at >= turn.sent]
    return turn


def _await_voice(
    turn: Turn,
    sandbox: Sandbox,
    bridge_url: str,
    user: str,
    messages: int,
    before: dict[str, Any],
    patience: float,
) -> None:
    def settled() -> list[Outbound]:
        voices = [each for each in sandbox.twilio.messages(user)[messages:] if each.media_url]
        return [each for each in voices if each.audio is not None or each.error_code is not None]

    deadline = turn.sent + patience
    while turn.voice is None:
        try:
            turn.voice = sandbox.ledger.wait_for(settled, LOOK_SECONDS)[0]
        except TimeoutError:
            late = f"No voice answer came within {patience:.0f} s."
            overdue = late if time.monotonic() > deadline else ""
            turn.failure = _given_up(before, _metrics(bridge_url)) or overdue
            if turn.failure:
                return
    turn.fetched = time.monotonic()
    if turn.voice.audio is None:
        turn.failure = f"The voice answer was not delivered (Twilio error {turn.voice.error_code})."


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


def _metrics(bridge_url: str) -> dict[str, Any]:
    """``/metrics``; empty when the bridge cannot be reached."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            report: dict[str, Any] = session.get(f"{bridge_url}/metrics", timeout=5).json()
        except requests.RequestException:
            return {}
    return report
