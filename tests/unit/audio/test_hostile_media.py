"""Hostile media: each ends in audio or in one of the ``AudioError`` leaves.

Whatever it is, it costs bounded time and memory, and leaves no process, descriptor or file behind.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.ffmpeg import Ffmpeg
from audio.trimming import pcm_seconds, trim
from core.errors import AudioError, AudioTooLong, AudioUnreadable
from tests.unit.audio import hostile_containers
from tests.unit.audio.hostile_containers import attachment, endless_blocks, matroska, sound
from tests.unit.audio.hostile_media import (
    EITHER,
    REFUSED,
    TONE,
    alias,
    bomb,
    made,
    mp4,
    noise,
    png,
    with_cover,
)
from tests.unit.audio.recordings import HEARD
from tests.unit.ogg_pages import SILENT_FRAMES
from tests.unit.traces import NONE, traces

LONGEST = 5.0
# What is decoded at most: to a second behind the longest, and up to a second more.
MOST = LONGEST + 2
ALL_EITHER = EITHER | hostile_containers.EITHER
ALL_REFUSED = REFUSED | hostile_containers.REFUSED


@pytest.fixture
def _leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = traces(tmp_path)
    yield
    assert traces(tmp_path).beyond(before) == NONE


@pytest.fixture(scope="module")
def ffmpeg() -> Ffmpeg:
    return Ffmpeg(max_seconds=LONGEST)


def streamed(ffmpeg: Ffmpeg, data: bytes) -> bytes | None:
    """As while it is downloaded."""
    listening = ffmpeg.open_stream()
    assert listening
    try:
        for at in range(0, len(data), 16_384):
            listening.write(data[at : at + 16_384])
        return listening.pcm()
    finally:
        listening.close()


@pytest.mark.usefixtures("_leaves_nothing")
@pytest.mark.parametrize("make", ALL_EITHER.values(), ids=ALL_EITHER)
def test_it_is_decoded_or_refused(ffmpeg: Ffmpeg, make: Callable[[], bytes]) -> None:
    data = make()
    try:
        pcm = ffmpeg.decode(data)
        assert 0 < pcm_seconds(pcm) <= MOST
        trim(pcm, max_seconds=LONGEST)
    except AudioError:
        pass
    try:
        heard = streamed(ffmpeg, data)
    except AudioUnreadable:
        heard = None
    assert heard is None or pcm_seconds(heard) <= MOST


@pytest.mark.usefixtures("_leaves_nothing")
@pytest.mark.parametrize("make", ALL_REFUSED.values(), ids=ALL_REFUSED)
def test_it_is_refused(ffmpeg: Ffmpeg, make: Callable[[], bytes]) -> None:
    data = make()
    with pytest.raises(AudioUnreadable):
        ffmpeg.decode(data)
    assert not streamed(ffmpeg, data)


@pytest.mark.usefixtures("_leaves_nothing")
def test_hours_of_silence_in_little_are_too_long(ffmpeg: Ffmpeg) -> None:
    """Decoded no further than it takes to see that."""
    data = bomb(hours=8)
    assert len(data) < 1_000_000
    for pcm in (ffmpeg.decode(data), streamed(ffmpeg, data)):
        assert pcm is not None
        assert LONGEST < pcm_seconds(pcm) <= MOST
        with pytest.raises(AudioTooLong):
            trim(pcm, max_seconds=LONGEST)


def test_matroska_is_heard_beside_its_attachment(ffmpeg: Ffmpeg) -> None:
    """So that what is done to it above is done to a file that would be heard."""
    heard = ffmpeg.decode(matroska(attachment(noise(8, 10_000)), sound()))
    assert pcm_seconds(heard) == pytest.approx(pcm_seconds(TONE), abs=0.2)


def test_sound_whose_time_stands_still_is_too_long(ffmpeg: Ffmpeg) -> None:
    pcm = ffmpeg.decode(endless_blocks(SILENT_FRAMES))
    assert pcm_seconds(pcm) == pytest.approx(LONGEST + 1, abs=0.2)


def test_an_mp4_hears_nothing_but_itself(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    """Sound that lies in another file stays there."""
    other = tmp_path / "other.m4a"
    other.write_bytes(mp4())
    assert pcm_seconds(ffmpeg.decode(mp4())) > 1
    with pytest.raises(AudioUnreadable):
        ffmpeg.decode(mp4(reference=alias(str(other))))


def test_a_cover_does_not_hide_the_sound(ffmpeg: Ffmpeg) -> None:
    """The picture is never decoded, however large it says it is."""
    for picture in (png(50), png(16_000)):
        assert abs(pcm_seconds(ffmpeg.decode(with_cover(picture))) - pcm_seconds(TONE)) < 0.2


def test_pictures_beside_the_sound_do_not_hide_it(ffmpeg: Ffmpeg) -> None:
    for name in ("Ogg with pictures behind", "Ogg with pictures in front"):
        assert abs(pcm_seconds(ffmpeg.decode(EITHER[name]())) - pcm_seconds(TONE)) < 0.2


@pytest.mark.parametrize(
    "signature",
    [b"OggS", b"#!AMR", b"\0\0\0\x20ftypM4A ", b"RIFF\0\0\0\0WAVE", b"caff", b"fLaC"]
    + [b"\x1aE\xdf\xa3", b"ID3\3\0\0\0\0\0\0", b"", b"\xff\xfb", b"\xff\xf1"],
    ids=repr,
)
def test_no_file_is_read(ffmpeg: Ffmpeg, tmp_path: Path, signature: bytes) -> None:
    """Whatever demuxer is forced on it, a playlist reads nothing that it names."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(made("-f", "wav"))
    for line in (f"file '{secret}'", f"file://{secret}", str(secret)):
        with pytest.raises(AudioUnreadable):
            ffmpeg.decode(signature + f"\nffconcat version 1.0\n#EXTM3U\n{line}\n".encode())


@given(data=st.data())
@settings(max_examples=25)
def test_any_damage_ends_well(ffmpeg: Ffmpeg, data: st.DataObject) -> None:
    """Pieces of real recordings in any order, with bytes changed, dropped and put in."""
    whole = [recording.make(TONE) for recording in HEARD]
    damaged = bytearray()
    for _ in range(data.draw(st.integers(1, 3))):
        source = data.draw(st.sampled_from(whole))
        begin = data.draw(st.integers(0, len(source)))
        damaged += source[begin if damaged else 0 : data.draw(st.integers(begin, len(source)))]
    for at in data.draw(st.lists(st.integers(0, max(len(damaged) - 1, 0)), max_size=20)):
        damaged[at : at + 1] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(AudioUnreadable):
        assert pcm_seconds(ffmpeg.decode(bytes(damaged))) <= MOST
