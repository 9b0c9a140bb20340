"""Sends a voice note or a text to a running bridge, and follows its turn to the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox import Sandbox
from sandbox.call_recorder import Call
from sandbox.demo.bridge_metrics import UNREACHABLE, MetricsObserver, get_json
from sandbox.twilio.messages import Outbound
from sandbox.twilio.webhook import Delivery

# A turn takes seconds, but the bridge waits up to 125 s for a slow agent.
TIMEOUT_SECONDS = 150.0
# How often the turn is looked at.
POLL_SECONDS = 0.1


@dataclass
class Turn:
    """The turn of a message, also while it runs; times are monotonic seconds.

    ``texts`` and ``voice`` are the answers, and ``fetched`` is when the voice answer was fetched.
    ``spoken`` says whether the message is a voice note, and ``transcript`` is what was understood,
    with its ``hint``. ``failure`` is a sentence, empty on success. ``asked_in`` is the agent's
    session in which the question was asked, and ``asked_before_in`` that of the question before;
    empty if none was.
    """

    sent: float
    acknowledged: float
    spoken: bool = True
    calls: list[Call] = field(default_factory=list)
    texts: list[Outbound] = field(default_factory=list)
    voice: Outbound | None = None
    fetched: float | None = None
    transcript: str = ""
    hint: str = ""
    failure: str = ""
    ended: bool = False
    asked_in: str = ""
    asked_before_in: str = ""

    @property
    def answer(self) -> str:
        """All texts that the user got."""
        return "\n\n".join(text.body for text in self.texts)

    @property
    def synthesized_text(self) -> str:
        """The text of the voice answer, which differs from ``answer``: it has no URLs and code.

        Its pieces are synthesized in any order; ``previous_text`` says how they follow each other.
        Empty if a piece came from the bridge's cache, because then it is not known.
        """
        found = [call.detail["body"] for call in self.calls if "body" in call.detail]
        bodies = {body["text"]: body for body in found}
        following = {body.get("previous_text"): body for body in bodies.values()}
        pieces: list[str] = []
        body = following.get(None)
        while body is not None and body["text"] not in pieces:
            pieces.append(body["text"])
            body = following.get(pieces[-1])
        if not pieces:
            return ""
        is_complete = len(pieces) == len(bodies) and "next_text" not in bodies[pieces[-1]]
        return "\n".join(pieces) if is_complete else ""


class Exchange:
    """One turn of ``user`` with the bridge at ``bridge_url``: a message and its answers.

    ``asked_before_in`` is the agent's session in which this user asked the question before.
    """

    def __init__(
        self, *, sandbox: Sandbox, bridge_url: str, user: str, asked_before_in: str = ""
    ) -> None:
        self._sandbox = sandbox
        self._bridge_url = bridge_url
        self._user = user
        self._metrics_before = get_json(f"{bridge_url}/metrics")
        self._messages = len(sandbox.twilio.messages(user))
        self._transcriptions = len(sandbox.elevenlabs.transcriptions)
        self._questions = len(sandbox.agentforce.questions)
        self._asked_before_in = asked_before_in

    def speak(self, recording: bytes, content_type: str) -> Turn:
        """Post a voice note to the webhook; the turn has a ``failure`` if it is refused."""
        twilio = self._sandbox.twilio
        return _turn(twilio.speak(self._user, recording, content_type=content_type), spoken=True)

    def say(self, text: str) -> Turn:
        """Post a text to the webhook; the turn has a ``failure`` if it is refused."""
        return _turn(self._sandbox.twilio.say(self._user, text), spoken=False)

    def finish(
        self,
        turn: Turn,
        *,
        timeout: float = TIMEOUT_SECONDS,
        on_poll: Callable[[Turn], None] = lambda turn: None,
    ) -> None:
        """Wait for the answers or a failure; ``on_poll`` is called regularly with the turn."""
        observer = MetricsObserver(self._bridge_url, self._metrics_before)
        self.update(turn)
        while not (turn.failure or self._has_ended(turn, observer)):
            if time.monotonic() > turn.sent + timeout:
                kind = "voice answer" if turn.spoken else "answer"
                turn.failure = f"No {kind} came within {timeout:.0f} s."
                break
            on_poll(turn)
            self._wait_for_change(turn)
        self.update(turn)
        turn.ended = True
        on_poll(turn)

    def _has_ended(self, turn: Turn, observer: MetricsObserver) -> bool:
        """Whether all answers are there; sets ``failure`` if some will not come."""
        if turn.voice and turn.voice.error_code is not None:
            code = turn.voice.error_code
            turn.failure = f"The voice answer was not delivered (Twilio error {code})."
        if turn.voice:
            return turn.fetched is not None
        turn.failure = observer.failure()
        if turn.spoken and observer.is_idle():
            turn.failure = "The answer came as text only."
        return observer.answered and bool(turn.texts) and not turn.spoken

    def _wait_for_change(self, turn: Turn) -> None:
        """Wait until the voice answer is fetched, to know when, or for ``POLL_SECONDS``."""

        def is_fetched() -> bool:
            self.update(turn)
            return turn.fetched is not None

        with contextlib.suppress(TimeoutError):
            self._sandbox.recorder.wait_for(is_fetched, POLL_SECONDS)

    def update(self, turn: Turn) -> None:
        """Complete ``turn`` by what has happened until now."""
        answers = self._sandbox.twilio.messages(self._user)[self._messages :]
        turn.texts = [message for message in answers if not message.media_url]
        turn.voice = next((message for message in answers if message.media_url), None)
        if turn.voice and turn.voice.audio is not None and turn.fetched is None:
            turn.fetched = time.monotonic()
        new = self._sandbox.elevenlabs.transcriptions[self._transcriptions :]
        if new:
            turn.transcript, turn.hint = new[0].transcript.text, new[0].transcript.hint
        turn.calls = [call for call in self._sandbox.recorder.calls() if call.at >= turn.sent]
        questions = self._sandbox.agentforce.questions
        turn.asked_before_in = self._asked_before_in
        turn.asked_in = questions[-1].session_id if len(questions) > self._questions else ""


def _turn(delivery: Delivery, *, spoken: bool) -> Turn:
    acknowledged = time.monotonic()
    turn = Turn(acknowledged - delivery.seconds, acknowledged, spoken=spoken)
    if not delivery.status:
        turn.failure = UNREACHABLE
    elif delivery.status != 200:
        turn.failure = f"The webhook refused the message (HTTP {delivery.status})."
    return turn
