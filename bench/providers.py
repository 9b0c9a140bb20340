"""The providers around a bridge that is measured."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import Sandbox
from sandbox.agentforce.helpdesk import Helpdesk
from sandbox.latency import LatencyProfile
from sandbox.speech import Heard, Sound
from sandbox.speech.fixture import FixtureSpeech, tone_of
from speech.synthesis import LONGEST_SENTENCE
from text.splitting import split_sentences

# Every question is answered in its own words (see there).
ANSWERS = Path(__file__).with_name("answers.toml")
SPOKEN_HZ = 1000
# Answered by the sandbox's help desk with some 400 characters that are spoken.
VOICE = "How do I register an electronic invoice?"
VOICE_HZ = 300
# Requests of a kind at once: the plan is not what is measured.
PLAN = 1000


class NewQuestions:
    """Hears a question nobody asked before in every recording, and hums one tone for any text.

    So no answer comes from a cache of the bridge, while texts of one length sound alike: encoding
    each anew would take more of the machine than the bridge does.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(10_000)

    def hear(self, pcm: bytes) -> Heard:
        return Heard(f"case {next(self._numbers)}")

    def say(self, text: str, language: str | None) -> Sound:
        return tone_of(text, SPOKEN_HZ)


@contextmanager
def instant_providers() -> Iterator[Sandbox]:
    """As fast as they can, with the help desk of the sandbox."""
    speech = FixtureSpeech()
    speech.tones.add(VOICE_HZ, Heard(VOICE, "eng"))
    with Sandbox(speech=speech) as sandbox:
        yield _unlimited(sandbox)


@contextmanager
def paced_providers() -> Iterator[Sandbox]:
    """As fast as they can until ``set_pace``; each question is new to the bridge."""
    with Sandbox(speech=NewQuestions(), helpdesk_file=ANSWERS) as sandbox:
        yield _unlimited(sandbox)
        # What a bot was sending when it was killed is taken yet.
        time.sleep(2 * sandbox.twilio.latency.send)


def last_sentence() -> int:
    """How many characters the last sentence of each answer has."""
    (message,) = Helpdesk(ANSWERS).answer("", NewQuestions().hear(b"").text)
    return len(split_sentences(message["message"], LONGEST_SENTENCE)[-1])


def set_latency(sandbox: Sandbox, latency: LatencyProfile) -> None:
    """From now on calls take as long as ``pace`` says."""
    for provider in (sandbox.twilio, sandbox.twilio.cdn, sandbox.agentforce, sandbox.elevenlabs):
        provider.latency = latency


def _unlimited(sandbox: Sandbox) -> Sandbox:
    sandbox.agentforce.token_clients = 100
    sandbox.elevenlabs.account.concurrency = PLAN
    return sandbox
