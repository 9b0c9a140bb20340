"""Which format a recording has and where it begins, by its bytes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.formats import SNIFFED, detect_format, find_recording
from sandbox.speech.tone import sine
from tests.unit.audio.recordings import HEARD, Recording, by_ffmpeg, id3_tag
from tests.unit.audio.test_frames import adts

TONE = sine(440, 0.5)
MP3_FRAME = b"\xff\xfb\x14\xc4" + bytes(92)
MEGABYTE = 1024 * 1024
DEMUXERS = {"ogg", "amr", "mov", "aac", "mp3", "wav", "caf", "flac", "matroska"}
by_signature = [each for each in HEARD if each.container not in ("ADTS", "MP3")]


@pytest.mark.parametrize("recording", by_signature, ids=lambda each: each.name)
def test_what_has_a_signature_is_known_by_its_first_bytes(recording: Recording) -> None:
    data = recording.make(TONE)
    start = len(id3_tag()) if recording.beginning == "ID3 tag" else 0
    assert find_recording(data[: start + SNIFFED]) == find_recording(data)
    found = find_recording(data)
    assert found is not None
    assert found.start == start


@pytest.mark.parametrize("frame", [adts(bytes(10)), MP3_FRAME], ids=["ADTS", "MP3"])
@pytest.mark.parametrize(
    "prefix",
    [b"", bytes(200_000), b"\xff", b"\xff\xfb", b"\xff\xf1\x50", b"x" * 8191, id3_tag(70_000)]
    + [id3_tag() + bytes(100), id3_tag() * 2],
    ids=len,
)
def test_a_stream_begins_with_its_first_frame(frame: bytes, prefix: bytes) -> None:
    found = find_recording(prefix + frame * 3)
    assert found is not None
    assert found.start == len(prefix)


@pytest.mark.parametrize("frame", [adts(bytes(10)), MP3_FRAME], ids=["ADTS", "MP3"])
def test_two_frames_are_chance_and_three_a_stream(frame: bytes) -> None:
    assert find_recording(frame * 2) is None
    assert find_recording(frame * 2 + b"\xff") is None


def test_a_tag_that_claims_more_than_there_is_hides_nothing() -> None:
    tag = bytearray(id3_tag())
    tag[6:10] = b"\x7f" * 4
    found = find_recording(bytes(tag) + MP3_FRAME * 3)
    assert found is not None
    assert found.start == len(tag)


@pytest.mark.parametrize(
    "data",
    [b"ID3", b"ID3\4\0\0\0\0\0\0", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0AVI ", b"\xff\xfb\x90\0"]
    + [b"%PDF-1.4\n", b"\xff\xd8\xff\xe0JFIF", b"FORM\0\0\0\0AIFF", b"\0" * 100, b"ID3" * 1000],
)
def test_what_is_no_recording_has_no_format(data: bytes) -> None:
    assert detect_format(data) is None


def test_a_video_that_holds_mp3_is_no_mp3() -> None:
    """Frames far behind the beginning are not looked for."""
    mp3 = by_ffmpeg("-c:a libmp3lame -f mp3")(sine(440, 3.0))
    assert find_recording(b"\x47" * 10_000 + mp3) is None


@pytest.mark.parametrize(
    "piece",
    [b"\xff", b"\0", b"\xff\xfb\x90\0", b"\xff\xf1", b"ID3\4\0\0\0\0\0\0", adts(b"")],
    ids=repr,
)
def test_sixteen_megabytes_are_judged_at_once(piece: bytes) -> None:
    data = piece * (16 * MEGABYTE // len(piece))
    before = time.thread_time()
    find_recording(data)
    assert time.thread_time() - before < 1.0


@given(st.binary(max_size=64), st.sampled_from([b"", b"ID3\3\0\0\0\0\0\2", b"\xff", b"\0\0"]))
def test_any_bytes_can_be_judged(data: bytes, prefix: bytes) -> None:
    found = detect_format(prefix + data)
    assert found is None or found.demuxer in DEMUXERS
