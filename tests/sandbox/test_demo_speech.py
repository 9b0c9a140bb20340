"""The demo's comparison of voice answers, with the real voice and the real ear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from sandbox.demo.round_trip import RoundTrip, check_round_trip
from sandbox.speech import Sound
from sandbox.speech.codec import Codec
from sandbox.speech.local import LocalSpeech
from sandbox.speech.models import ModelsMissing

pytestmark = [pytest.mark.speech, pytest.mark.slow]

# A minute of short sentences and numbers, in pieces as the bridge has them spoken.
LONG_ANSWER = (
    (
        "Electronic invoicing, step by step. This guide takes you from your first login to an "
        "accepted invoice."
    ),
    (
        "Plan half an hour for the first invoice; later ones take two or three minutes. 1. Before "
        "you start."
    ),
    (
        "You need an account, a taxpayer profile and a signing certificate: Account. Register "
        "with your company's tax number."
    ),
    (
        "Confirm the e-mail address of the person responsible. Taxpayer profile. Check the legal "
        "name, the address and the activity code."
    ),
    (
        "Add every branch that issues invoices. Signing certificate. Order it from a licensed "
        "provider; delivery takes about three working days."
    ),
    (
        "Install it on the computer that signs, and note the day it expires. 2. Enter the "
        "invoice. 1. Log in and choose New Invoice. 2."
    ),
    (
        "Pick the document type: invoice, credit note or debit note. 3. Enter the buyer's tax "
        "number. The name and address are filled in for you. 4."
    ),
    (
        "Add the lines, each with a description, an item code, a quantity, a unit price and a tax "
        "code. 5. Check the totals. The portal rounds to two decimals per line,"
    ),
    ("so your own system should do the same."),
)


@pytest.fixture(scope="module")
def speech() -> Iterator[LocalSpeech]:
    try:
        engine = LocalSpeech()
    except ModelsMissing as missing:
        pytest.skip(str(missing))
    with contextlib.closing(engine):
        yield engine


@pytest.fixture(scope="module")
def long_answer(speech: LocalSpeech) -> Sound:
    pieces = [speech.synthesize(piece, "en") for piece in LONG_ANSWER]
    return Sound(b"".join(piece.pcm for piece in pieces), pieces[0].rate)


def test_a_long_answer_passes_if_it_is_complete(speech: LocalSpeech, long_answer: Sound) -> None:
    """One of which a quarter is missing does not."""
    result = _check(speech, long_answer)
    assert result.passed, result
    three_quarters = len(long_answer.pcm) // 8 * 6
    truncated = _check(speech, Sound(long_answer.pcm[:three_quarters], long_answer.rate))
    assert not truncated.passed, truncated


def _check(speech: LocalSpeech, sound: Sound) -> RoundTrip:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    codec = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())
    audio = codec.encode(sound, "opus_48000_32")
    return check_round_trip(audio, "\n".join(LONG_ANSWER), speech=speech, codec=codec)
