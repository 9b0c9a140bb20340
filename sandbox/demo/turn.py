"""Sends a voice note to a running bridge, and waits for the end of its turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from sandbox import Sandbox
from sandbox.call_recorder import Call
from sandbox.twilio.messages import Outbound

# A turn takes seconds, but the bridge waits up to 125 s for a slow agent.
TIMEOUT_SECONDS = 150.0
# How often the metrics are read, to see whether the turn has failed.
POLL_SECONDS = 0.5
HTTP_TIMEOUT_SECONDS = 5.0
UNREACHABLE = "The bridge does not answer any more."


@dataclass
class Turn:
    """The turn of a voice note; times are monotonic seconds.

    ``texts`` and ``voice`` are the answers, and ``fetched`` is when the voice answer was fetched.
    ``transcript`` is that of the user's question, with its ``hint``. ``failure`` is a sentence,
    empty on success.
    """

    sent: float
    acknowledged: float
    calls: list[Call] = field(default_factory=list)
    texts: list[Outbound] = field(default_factory=list)
    voice: Outbound | None = None
    fetched: float | None = None
    transcript: str = ""
    hint: str = ""
    failure: str = ""

    @property
    def answer(self) -> str:
        """All texts that the user got."""
        return "\n\n".join(text.body for text in self.texts)

    @property
    def synthesized_text(self) -> str:
        """The text of the voice answer, which differs from ``answer``: it has no URLs and code.

        Its pieces are synthesized in any order; ``previous_text`` says how they follow each other.
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
    """One turn of ``user`` with the bridge at ``bridge_url``: a voice note and its answers."""

    def __init__(self, *, sandbox: Sandbox, bridge_url: str, user: str) -> None:
        self._sandbox = sandbox
        self._metrics_url = f"{bridge_url}/metrics"
        self._user = user
        self._metrics_before = get_json(self._metrics_url)
        self._messages = len(sandbox.twilio.messages(user))
        self._transcriptions = len(sandbox.elevenlabs.transcriptions)

    def send(self, recording: bytes, content_type: str = "audio/ogg") -> Turn:
        """Post the voice note to the webhook; the turn has a ``failure`` if it is refused."""
        delivery = self._sandbox.twilio.speak(self._user, recording, content_type=content_type)
        acknowledged = time.monotonic()
        turn = Turn(sent=acknowledged - delivery.seconds, acknowledged=acknowledged)
        if not delivery.status:
            turn.failure = UNREACHABLE
        elif delivery.status != 200:
            turn.failure = f"The webhook refused the voice note (HTTP {delivery.status})."
        return turn

    def finish(
        self,
        turn: Turn,
        *,
        timeout: float = TIMEOUT_SECONDS,
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait for the voice answer or a failure, and complete ``turn``.

        ``on_poll`` is called regularly while waiting.
        """
        if not turn.failure:
            self._wait_for_voice(turn, timeout, on_poll)
        turn.texts = [message for message in self._answers() if not message.media_url]
        new = self._sandbox.elevenlabs.transcriptions[self._transcriptions :]
        if new:
            turn.transcript, turn.hint = new[0].transcript.text, new[0].transcript.hint
        turn.calls = [call for call in self._sandbox.recorder.calls() if call.at >= turn.sent]

    def _wait_for_voice(self, turn: Turn, timeout: float, on_poll: Callable[[], None]) -> None:
        deadline = turn.sent + timeout
        while turn.voice is None:
            on_poll()
            try:
                found = self._sandbox.recorder.wait_for(self._final_voice_notes, POLL_SECONDS)
                turn.voice = found[0]
            except TimeoutError:
                turn.failure = _find_failure(self._metrics_before, get_json(self._metrics_url))
                if not turn.failure and time.monotonic() > deadline:
                    turn.failure = f"No voice answer came within {timeout:.0f} s."
                if turn.failure:
                    return
        turn.fetched = time.monotonic()
        if turn.voice.audio is None:
            error = turn.voice.error_code
            turn.failure = f"The voice answer was not delivered (Twilio error {error})."

    def _answers(self) -> list[Outbound]:
        return self._sandbox.twilio.messages(self._user)[self._messages :]

    def _final_voice_notes(self) -> list[Outbound]:
        """The voice notes that were fetched or have failed."""
        voices = [each for each in self._answers() if each.media_url]
        return [each for each in voices if each.audio is not None or each.error_code is not None]


def _find_failure(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Why the turn has failed, according to the bridge's metrics; empty if it has not."""
    if not now:
        return UNREACHABLE
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


def get_json(url: str) -> dict[str, Any]:
    """The JSON object at ``url``, with any status; empty if the bridge cannot be reached."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            body: dict[str, Any] = session.get(url, timeout=HTTP_TIMEOUT_SECONDS).json()
        except requests.RequestException:
            return {}
    return body
