"""A running service with the stand-ins of its providers, and what tests do with both."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import imageio_ffmpeg
import requests

from sandbox import Sandbox
from sandbox.agentforce.turn import Question
from sandbox.bridge import Bridge
from sandbox.call_recorder import WAIT_SECONDS, Call
from sandbox.elevenlabs.standin import Synthesis
from sandbox.faults import Fault, Kind
from sandbox.speech import Transcript
from sandbox.speech.codec import NOTES, Codec
from sandbox.speech.fixture import FixtureSpeech
from sandbox.speech.tone import sine
from sandbox.twilio.messages import Outbound
from sandbox.twilio.standin import TwilioStandIn
from sandbox.twilio.webhook import sign
from tests.leaks import known_to

PAGES = (
    "/metrics",
    "/metrics?format=prometheus",
    "/health",
    "/dashboard",
    "/dashboard/state",
    "/dashboard/history",
    "/nothing",
)

# What is called soon after a start, whatever the test does: the token is fetched, and the check
# reads the accounts.
AT_START = frozenset({"token", "account", "senders", "numbers", "models", "voice", "subscription"})


class Deployment:
    """One sandbox with one running service; every test uses users of its own."""

    _numbers = itertools.count(14155550000)
    # The stand-in recognises a note by its pitch, in steps of 5 Hz below those of spoken answers.
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
        """The address of a WhatsApp user who has not written before."""
        return f"whatsapp:+{next(self._numbers)}"

    def note(self, said: str | Transcript, language: str = "eng") -> bytes:
        """A voice note (Ogg/Opus) that is transcribed as ``said``."""
        return self.recording(said, "ogg", language)[0]

    def recording(
        self, said: str | Transcript, kind: str, language: str = "eng"
    ) -> tuple[bytes, str]:
        """A voice note in a format of ``NOTES``, and its content type."""
        transcript = said if isinstance(said, Transcript) else Transcript(said, language)
        pitch = next(self._pitches)
        self.speech.tones.add(pitch, transcript)
        return self.codec.note(sine(pitch, 1.5), kind), NOTES[kind][0]

    def ask(self, text: str, user: str | None = None) -> Outbound:
        """Post a text, by default of a new user, and wait for the first message that answers it."""
        user = user or self.user()
        known = len(self.twilio.messages(user))
        self.twilio.say(user, text)
        return self.answers(user, known + 1)[known]

    def answers(self, user: str, count: int, timeout: float = WAIT_SECONDS) -> list[Outbound]:
        """Wait for ``count`` messages to ``user`` and return these."""
        return self.twilio.wait_for_messages(user, count, timeout)[:count]

    def expect_no_more(self, user: str, count: int) -> None:
        """Raise if ``user`` gets more than ``count`` messages for what they wrote so far.

        Turns of one sender run one after the other, so the answer to one more message proves
        that the earlier ones get no further answers.
        """
        self.twilio.say(user, "thanks")
        *_, last = self.answers(user, count + 1)
        assert last.body.startswith("You're welcome"), f"{last.body!r} is one message too many"

    def asked(self, user: str) -> list[Question]:
        """The questions that the agent got since the test began, from all users."""
        return self.sandbox.agentforce.questions[self._asked_before :]

    def synthesised(self) -> list[Synthesis]:
        """The pieces of text that ElevenLabs spoke since the test began."""
        return self.sandbox.elevenlabs.syntheses[self._spoken_before :]

    def hear(self, voice: Outbound) -> str:
        """The words of a voice note that Twilio fetched."""
        return self.speech.transcribe(self.codec.decode(voice.audio or b"")).text

    def add_fault(self, service: str, call: str, kind: Kind = "status", **options: Any) -> Fault:
        """Let a provider fail; the options are those of ``Fault``."""
        fault = Fault(service, call, kind, **options)
        self.sandbox.faults.add(fault)
        return fault

    def calls(self, service: str | None = None, call: str | None = None) -> list[Call]:
        """The calls that a provider got since the test began.

        Without ``call``, those are left out that follow a start at any time.
        """
        found = self.sandbox.recorder.calls(service, call)
        return [each for each in found if call or each.name not in AT_START]

    def wait_for_call(self, service: str, call: str) -> Call:
        """Wait until a provider has got such a call, and return the newest one."""
        return self.sandbox.recorder.wait_for(lambda: self.calls(service, call))[-1]

    def signature(self, address: str, form: Mapping[str, Any]) -> dict[str, str]:
        """The header with Twilio's signature of a form that is posted to ``address``."""
        token = self.bridge.settings["TWILIO_AUTH_TOKEN"]
        return {"X-Twilio-Signature": sign(address, form, token)}

    def metrics(self) -> dict[str, Any]:
        return dict(requests.get(f"{self.bridge.url}/metrics", timeout=10).json())

    def counter(self, name: str) -> int:
        return int(self.metrics()["counters"][name])

    def log(self) -> str:
        return self.bridge.log()

    def check_leaks(self, log: str) -> None:
        """Raise if the log or a page shows a text, a number or a secret."""
        known = known_to(self.sandbox, self.bridge.settings)
        found = known.leaks_in(log)
        password = ("operator", self.bridge.settings.get("METRICS_TOKEN", ""))
        # A test may have ended the service.
        with suppress(requests.ConnectionError):
            for page in PAGES:
                answer = requests.get(self.bridge.url + page, auth=password, timeout=10)
                found += known.leaks_in(answer.text)
        assert not found, "\n".join(found[:10])

    def begin(self) -> None:
        """Drop the faults and recorded calls of earlier tests."""
        self.sandbox.faults.clear()
        self.sandbox.recorder.clear()
        self._asked_before = len(self.sandbox.agentforce.questions)
        self._spoken_before = len(self.sandbox.elevenlabs.syntheses)

    def check(self) -> None:
        """Raise if the service broke a rule of a provider since the test began."""
        violations = self.sandbox.recorder.violations
        if violations:
            raise AssertionError(f"rules of providers were broken: {violations}")
