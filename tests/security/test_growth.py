"""What reads the words of strangers, agents and providers takes linear time.

Each reader gets texts that repeat an atom of what it looks for, or two of them in turn. Sixteen
times the text may take sixteen times as long; where time grows by the square it takes 256 times as
long.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType

import pytest
import regex
from werkzeug.test import EnvironBuilder

from agentforce import read_messages, read_stream
from core.error_codes import codes_in
from core.errors import ForgedRequest, MalformedRequest
from core.logs import _WORDS, _escape
from http_clients.event_stream import read_events
from http_clients.retries import parse_retry_after
from speech.spoken_text import to_spoken_text
from speech.synthesis import _SENTENCE_START
from speech.transcription import has_speech
from text import markdown as markup
from text.addresses import find_addresses
from text.language_detection import has_words
from text.markdown import clean, to_speech, to_whatsapp
from text.markdown_splitting import split_markdown
from text.phrases import Phrases
from text.splitting import first_sentences, split_message, split_sentences
from turns.public_questions import normalize_question
from web.security import FORM
from whatsapp.inbound import parse_message
from whatsapp.signature import Signature
from whatsapp.status_callbacks import parse_status

pytestmark = pytest.mark.slow

Reader = Callable[[str], object]

ATOMS = (
    "a 1 ! . * ** _ __ ~ ~~ ` ``` [ ] ![ ]( ( ) < </ > & &amp; &# &#x \\ | |-| - # > + : :// "
    "http:// http://a www. www.a a@b.c a.b/ xn-- xn--a. <a <b> <!-- --> </p> <br href= \" ' "
    "(laughs) [x]( _a *a a* a_ 5*5 -->< data: {} , 😀 م 。 ， « ؟ – é \u0315\u0300 \u0301 \u200d "
    "\u202e \x1b"
).split(" ")
ATOMS += [" ", "  ", "\n", "\n\n", "\r", "\t", "- ", "1. ", "> ", "# ", "(laughs) ", "[x]: y\n"]
ATOMS += ["|-|\n", "---\n", "===\n", "```\n", "<br ", "<a ", ". ", ") ", "! \n", "data:a\n", "A_A_"]
# The same pairs in every run.
PAIRS = ["".join(pair) for pair in itertools.permutations(ATOMS, 2)]
PAIRS = random.Random(14).sample(PAIRS, 15) + ["_[", "**![", "![[x](", "![&", "a*![", "!["]

# An exponential reader would not come back from 64 KB.
BEGINNINGS = (16, 64, 256, 1024)
SHORT, LONG = 4096, 65536
# Of the time in proportion. What is quadratic takes sixteen times as much, of Markdown four times.
MOST_GROWTH = 3.0
# What is faster than that is not worth a second look.
WORTH_SECONDS = 0.02
GIVE_UP_SECONDS = 240.0

_phrases = Phrases()
_signature = Signature(auth_token="x", account_sid="AC0", public_url="https://bot.example.com")


def _event(text: str) -> bytes:
    message = {"message": {"type": "Inform", "message": text}}
    return (
        b"data: " + json.dumps(message).encode() + b'\n\ndata: {"message":{"type":"EndOfTurn"}}\n\n'
    )


def _chunks(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def _form(text: str) -> dict[str, str]:
    return {"MessageSid": "SM" + "0" * 32, "From": "whatsapp:+14155550000", "Body": text}


READERS: dict[str, Reader] = {
    "a cleaned text": clean,
    "addresses in a text": lambda text: list(find_addresses(text)),
    "a text cut into pieces": lambda text: list(split_markdown(text, 1024)),
    "a text cut into messages": split_message,
    "a text cut into sentences": partial(split_sentences, max_characters=80),
    "the first sentences": partial(first_sentences, limit=4000),
    "where a sentence begins": lambda text: _SENTENCE_START.search(text, 160),
    "sounds that are no words": has_speech,
    "the words of a language": has_words,
    "a command": _phrases.command,
    "a language": _phrases.detect_language,
    "a public question": normalize_question,
    "codes of errors": codes_in,
    "a line of the log": _escape,
    "a line of a library": _WORDS.findall,
    "a form and its signature": lambda text: _forged(text.encode(errors="replace")),
    "a webhook": lambda text: parse_message(_form(text)),
    "a webhook's sender": lambda text: _refused(_form("hello") | {"From": text}),
    "a status": lambda text: parse_status(
        {}, _form("") | {"MessageStatus": text, "ErrorCode": text}
    ),
    "when to come back": parse_retry_after,
    "an answer": lambda text: read_messages([{"type": "Inform", "message": text}] * 2),
    "an answer as it comes": lambda text: read_stream(read_events(_chunks(_event(text), 100))),
    "an event": lambda text: list(read_events(_chunks(text.encode(errors="replace"), 3))),
}
MARKDOWN: dict[str, Reader] = {
    "Markdown to be shown": to_whatsapp,
    "Markdown to be said": to_speech,
}


ENDLESS: dict[str, tuple[str, Reader]] = {
    "exponential": ("(laughs) " * 40 + "and words", re.compile(r"(\s*\([^)]*\)\s*)*").fullmatch),
    "cubic": ("\n" * 9000, regex.compile(r"\n\W*\s\W*\w").search),
}


def _forged(body: bytes) -> None:
    form = EnvironBuilder(method="POST", data=body, content_type=FORM).get_request().form
    with suppress(ForgedRequest):
        _signature.check("/", "", list(form.items(multi=True)), {})


def _refused(form: dict[str, str]) -> None:
    with suppress(MalformedRequest):
        parse_message(form)


@contextmanager
def _giving_up(seconds: float = GIVE_UP_SECONDS) -> Iterator[None]:
    def give_up(_: int, __: FrameType | None) -> None:
        raise AssertionError("it takes for ever")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _seconds(read: Reader, text: str, times: int = 1) -> float:
    """The least CPU that it takes."""
    taken = []
    for _ in range(times):
        began = time.thread_time()
        read(text)
        taken.append(time.thread_time() - began)
    return min(taken)


def _grows_too_fast(read: Reader, atom: str, short: int, long: int) -> bool:
    """Whether a text takes far more than in proportion; what a busy machine adds is not counted."""
    for times in (1, 3):
        took = _seconds(read, _text(atom, long), times)
        most = MOST_GROWTH * long / short * _seconds(read, _text(atom, short), times)
        if took < WORTH_SECONDS or took < most:
            return False
    return True


def _text(atom: str, size: int) -> str:
    return (atom * (size // len(atom) + 1))[:size]


def _check(read: Reader, short: int, long: int) -> None:
    with _giving_up():
        for size, atom in itertools.product(BEGINNINGS, ATOMS):
            read(_text(atom, size))
        assert not [atom for atom in ATOMS + PAIRS if _grows_too_fast(read, atom, short, long)]


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_a_longer_text_takes_longer_in_proportion(read: Reader) -> None:
    _check(read, SHORT, LONG)


@pytest.mark.parametrize("read", MARKDOWN.values(), ids=MARKDOWN.keys())
def test_longer_markdown_takes_longer_in_proportion(
    read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parser gets pieces, so what counts is how many there are; short ones take less time."""
    monkeypatch.setattr(markup, "PART_CHARACTERS", 1024)
    _check(read, 4096, 16384)


def test_a_longer_sentence_takes_longer_in_proportion() -> None:
    """It is cut short before its numbers are worded, so that shorter ones will do here."""
    _check(partial(to_spoken_text, language="en", with_numbers=True), 1024, 8192)


@pytest.mark.parametrize(("text", "read"), ENDLESS.values(), ids=ENDLESS.keys())
def test_a_reader_that_takes_for_ever_is_noticed(text: str, read: Reader) -> None:
    """These were in use once."""
    with pytest.raises(AssertionError), _giving_up(1.0):
        read(text)
