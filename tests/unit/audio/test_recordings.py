"""Every container, codec and beginning of docs/formats.md, through the real ffmpeg."""

from __future__ import annotations

import pytest

from audio.ffmpeg import Ffmpeg
from audio.trimming import pcm_seconds, trim
from core.errors import AudioTooLong, AudioUnreadable
from sandbox.speech.tone import pitches, sine
from tests.unit.audio.recordings import HEARD, REFUSED, Recording
from tests.unit.audio.recordings_page import PAGE, page

LONGEST = 5.0
SECONDS = 2.0
TONE = sine(440, SECONDS, margin=0)

heard = pytest.mark.parametrize("recording", HEARD, ids=lambda each: each.name)
refused = pytest.mark.parametrize("recording", REFUSED, ids=lambda each: each.name)


@pytest.fixture(scope="module")
def ffmpeg() -> Ffmpeg:
    return Ffmpeg(max_seconds=LONGEST)


@heard
def test_all_of_it_is_heard(ffmpeg: Ffmpeg, recording: Recording) -> None:
    pcm = ffmpeg.decode(recording.make(TONE))
    assert pitches(pcm) == [pytest.approx(440, abs=3)]
    assert pcm_seconds(pcm) == pytest.approx(SECONDS, abs=0.2)


@heard
def test_one_that_is_too_long_is_not_decoded_to_its_end(
    ffmpeg: Ffmpeg, recording: Recording
) -> None:
    pcm = ffmpeg.decode(recording.make(sine(440, 3 * LONGEST)))
    assert pcm_seconds(pcm) == pytest.approx(LONGEST + 1, abs=0.1)
    with pytest.raises(AudioTooLong):
        trim(pcm, max_seconds=LONGEST)


@refused
def test_what_is_not_supported_is_named(ffmpeg: Ffmpeg, recording: Recording) -> None:
    with pytest.raises(AudioUnreadable) as caught:
        ffmpeg.decode(recording.make(TONE))
    expected = f"recording in a format that is not supported: '{recording.logged}'"
    assert str(caught.value) == expected


def test_the_page_is_written_from_the_recordings() -> None:
    expected = page()
    assert PAGE.read_text(encoding="utf-8") == expected, (
        "python -m tests.unit.audio.recordings_page writes it anew"
    )
