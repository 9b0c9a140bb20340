"""A running bridge, the providers around it, and what tests ask of both."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import imageio_ffmpeg
import requests

from sandbox import Sandbox
from sandbox.agentforce.turn import Question
from sandbox.bridge import Bridge
from sandbox.elevenlabs.standin import Synthesis
from sandbox.speech import Transcript
from sandbox.speech.codec import NOTES, Codec
from sandbox.speech.fixture import FixtureSpeech
from sandbox.speech.tone import sine
from sandbox.twilio.messages import Outbound
from sandbox.twilio.standin import TwilioStandIn
from tests.leaks import known_to

PAGES = ("/metrics", "/metrics?format=prometheus", "/health", "/dashboard", "/nothing")


class Deployment:
    """One sandbox with one bridge; every test uses users of its own."""

    _numbers = itertools.count(14155550000)
    # The stand-in tells tones apart that are 5 Hz apart, below those of spoken answers.
    _pitches = itertools.cycle(range(200, 950, 5))

    def __init__(self, *, sandbox: Sandbox, speech: FixtureSpeech, bridge: Bridge) -> None:
        self.sandbox = sandbox
        self.speech = speech
        self.bridge = bridge
        self.codec = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())

    @property
    def twilio(self) -> TwilioStandIn:
        return self.sandbox.twilio

    def user(self) -> str:
        """A WhatsApp user nobody has met yet."""
        return f"whatsapp:+{next(self._numbers)}"

    def note(self, said: str | Transcript, language: str = "eng") -> bytes:
        """A voice note (Ogg/Opus) in which ``said`` is heard."""
        return self.recording(said, "ogg", language)[0]

    def recording(
        self, said: str | Transcript, kind: str, language: str = "eng"
    ) -> tuple[bytes, str]:
        """The same in any format of ``NOTES``, with its content type."""
        heard = said if isinstance(said, Transcript) else Transcript(said, language)
        pitch = next(self._pitches)
        self.speech.tones.add(pitch, heard)
        return self.codec.note(sine(pitch, 1.5), kind), NOTES[kind][0]

    def answers(self, user: str, count: int, timeout: float = 30.0) -> list[Outbound]:
        """The first ``count`` messages to ``user``, once they are there."""
        return self.twilio.wait_for_messages(user, count, timeout)[:count]

    def expect_no_more(self, user: str, count: int) -> None:
        """Raise if ``user`` got more than ``count`` messages for what was said so far.

        Turns of one sender run one after the other, so what answers another question proves
        that nothing else is to come.
        """
        self.twilio.say(user, "thanks")
        *_, last = self.answers(user, count + 1)
        assert last.body.startswith("You're welcome"), f"{last.body!r} is one message too many"

    def asked(self, user: str) -> list[Question]:
        """What the agent was asked since the test began; a test has one user at a time."""
        return self.sandbox.agentforce.questions[self._asked_before :]

    def spoken_since(self) -> list[Synthesis]:
        """What was spoken since the test began."""
        return self.sandbox.elevenlabs.syntheses[self._spoken_before :]

    def hear(self, voice: Outbound) -> str:
        """The words of a voice note that arrived."""
        return self.speech.transcribe(self.codec.decode(voice.audio or b"")).text

    def metrics(self) -> dict[str, Any]:
        return dict(requests.get(f"{self.bridge.url}/metrics", timeout=10).json())

    def counter(self, name: str) -> int:
        return int(self.metrics()["counters"][name])

    def log(self) -> str:
        return self.bridge.log()

    def check_leaks(self, log: str) -> None:
        """Raise where somebody who may not know it could read what was said, a number, a secret."""
        known = known_to(self.sandbox, self.bridge.settings)
        found = known.leaks_in(log)
        password = ("operator", self.bridge.settings.get("METRICS_TOKEN", ""))
        # A test may have ended the bridge.
        with suppress(requests.ConnectionError):
            for page in PAGES:
                answer = requests.get(self.bridge.url + page, auth=password, timeout=10)
                found += known.leaks_in(answer.text)
        assert not found, "\n".join(found[:10])

    def begin(self) -> None:
        """Forget what earlier tests left behind."""
        self.sandbox.faults.clear()
        self.sandbox.recorder.clear()
        self._asked_before = len(self.sandbox.agentforce.questions)
        self._spoken_before = len(self.sandbox.elevenlabs.syntheses)

    def check(self) -> None:
        """Raise where the bridge broke a contract since the test began."""
        violations = self.sandbox.recorder.violations
        if violations:
            raise AssertionError(f"contracts were broken: {violations}")
