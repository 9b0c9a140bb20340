"""The stand-ins that a benchmarked bot calls."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import Sandbox
from sandbox.agentforce.helpdesk import Helpdesk
from sandbox.latency import LatencyProfile
from sandbox.speech import Sound, Transcript
from sandbox.speech.fixture import FixtureSpeech, tone_for_text
from speech.synthesis import MAX_SENTENCE_CHARACTERS
from text.splitting import split_sentences

# Repeats the question in every sentence of the answer, so that each answer is new.
ANSWERS = Path(__file__).with_name("answers.toml")
ANSWER_TONE_HZ = 1000
# The sandbox's help desk answers this question with about 400 characters of plain text.
QUESTION = "How do I register an electronic invoice?"
QUESTION_TONE_HZ = 300
# Concurrent ElevenLabs requests, far more than are needed: the plan's limit is not measured.
CONCURRENCY = 1000


class UniqueQuestions:
    """Speech that transcribes every recording as a new question, and uses one tone for all answers.

    No answer comes from a cache of the bridge. Still, answers of the same length have the same
    sound, so that the stand-in encodes it only once: otherwise encoding would take more CPU than
    the bridge.
    """

    note = ""

    def __init__(self) -> None:
        self._numbers = itertools.count(10_000)

    def transcribe(self, pcm: bytes) -> Transcript:
        return Transcript(f"case {next(self._numbers)}")

    def synthesize(self, text: str, language: str | None) -> Sound:
        return tone_for_text(text, ANSWER_TONE_HZ)


@contextmanager
def instant_providers() -> Iterator[Sandbox]:
    """Stand-ins without latency, with the sandbox's own help desk."""
    speech = FixtureSpeech()
    speech.tones.add(QUESTION_TONE_HZ, Transcript(QUESTION, "eng"))
    with Sandbox(speech=speech) as sandbox:
        yield _without_limits(sandbox)


@contextmanager
def configurable_providers() -> Iterator[Sandbox]:
    """Stand-ins without latency until ``set_latency``; the bridge has seen no question before."""
    with Sandbox(speech=UniqueQuestions(), helpdesk_file=ANSWERS) as sandbox:
        yield _without_limits(sandbox)
        # Let requests finish that the bot sent before it was killed.
        time.sleep(2 * sandbox.twilio.latency.send)


def last_sentence_length() -> int:
    """The number of characters in the last sentence of each answer."""
    (message,) = Helpdesk(ANSWERS).answer("", UniqueQuestions().transcribe(b"").text)
    return len(split_sentences(message["message"], MAX_SENTENCE_CHARACTERS)[-1])


def set_latency(sandbox: Sandbox, latency: LatencyProfile) -> None:
    """From now on, calls of all providers take as long as ``latency`` says."""
    for provider in (sandbox.twilio, sandbox.twilio.cdn, sandbox.agentforce, sandbox.elevenlabs):
        provider.latency = latency


def _without_limits(sandbox: Sandbox) -> Sandbox:
    sandbox.agentforce.token_clients = 100
    sandbox.elevenlabs.account.concurrency = CONCURRENCY
    return sandbox
