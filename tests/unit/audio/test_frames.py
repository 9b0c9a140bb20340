"""How long recordings last, without decoding them."""

from __future__ import annotations

import time
from collections.abc import Callable

import imageio_ffmpeg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.frames import exceeds_duration
from sandbox.speech.codec import Codec
from sandbox.speech.tone import sine
from tests.unit.audio.recordings import FOREIGN_BYTES, id3_tag
from tests.unit.ogg_pages import FRAME, packed, stream

SECONDS = 3.0
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())


def adts(payload: bytes, *, rate: int = 4, blocks: int = 1) -> bytes:
    size = 7 + len(payload)
    fields = 0xFFF1 << 40 | 1 << 38 | rate << 34 | 1 << 30 | size << 13 | 0x7FF << 2 | blocks - 1
    return fields.to_bytes(7, "big") + payload


@pytest.mark.parametrize("kind", ["aac", "amr"])
def test_a_recording_lasts_as_long_as_it_does(codec: Codec, kind: str) -> None:
    note = codec.note(sine(440, SECONDS, margin=0), kind)
    assert exceeds_duration(note, SECONDS - 0.2)
    assert not exceeds_duration(note, SECONDS + 0.2)


@pytest.mark.parametrize("kind", ["ogg", "m4a", "mp3"])
def test_other_formats_are_left_to_the_decoder(codec: Codec, kind: str) -> None:
    assert not exceeds_duration(codec.note(sine(440, SECONDS, margin=0), kind), SECONDS / 2)


@pytest.mark.parametrize(
    ("frame", "magic"),
    [
        (b"\x3c" + bytes(31), b"#!AMR\n"),
        (b"\x44" + bytes(5), b"#!AMR\n"),
        (b"\x7c", b"#!AMR\n"),
        (b"\x44" + bytes(60), b"#!AMR-WB\n"),
        (b"\x4c" + bytes(5), b"#!AMR-WB\n"),
        (b"\x74", b"#!AMR-WB\n"),
    ],
)
def test_a_frame_of_amr_lasts_20_ms_whatever_its_size(frame: bytes, magic: bytes) -> None:
    assert not exceeds_duration(magic + frame * 100, 2.001)
    assert exceeds_duration(magic + frame * 101, 2.001)


@pytest.mark.parametrize(("rate", "blocks", "seconds"), [(4, 1, 1024 / 44_100), (8, 4, 0.256)])
def test_a_frame_of_aac_lasts_as_its_header_says(rate: int, blocks: int, seconds: float) -> None:
    frame = adts(b"", rate=rate, blocks=blocks)
    assert not exceeds_duration(frame * 100, 100.5 * seconds)
    assert exceeds_duration(frame * 101, 100.5 * seconds)


@pytest.mark.parametrize("end", [b"junk", adts(b"", rate=13), b"\xff\xf1P\x80\0\x1f\xfc", b"\xff"])
def test_aac_is_counted_up_to_what_is_none(end: bytes) -> None:
    frame = adts(b"12")
    assert not exceeds_duration(frame * 10 + end + frame * 1000, 1.0)


@pytest.mark.parametrize("prefix", [FOREIGN_BYTES, bytes(1000), id3_tag()], ids=len)
def test_frames_are_counted_from_where_the_recording_begins(prefix: bytes) -> None:
    frame = adts(b"")
    assert not exceeds_duration(prefix + frame * 100, 100.5 * 1024 / 44_100)
    assert exceeds_duration(prefix + frame * 101, 100.5 * 1024 / 44_100)


def test_ogg_may_have_a_page_for_each_packet() -> None:
    pages = packed(stream([[FRAME]] * 500))
    assert not exceeds_duration(pages, 10.0)
    assert exceeds_duration(pages, 4.9)


ENDLESS: dict[str, Callable[[int], bytes]] = {
    "AMR": lambda size: b"#!AMR\n" + b"\x7c" * size,
    "AAC": lambda size: adts(b"") * (size // 7),
    "Ogg": lambda size: b"OggS" * (size // 4),
}


@pytest.mark.parametrize("make", ENDLESS.values(), ids=ENDLESS)
def test_no_frame_is_read_behind_the_one_that_decides(make: Callable[[int], bytes]) -> None:
    """However much there is."""

    def took(data: bytes) -> float:
        before = time.thread_time()
        assert exceeds_duration(data, 300.0)
        return time.thread_time() - before

    little, much = make(MEGABYTE // 4), make(16 * MEGABYTE)
    least = min(took(little) for _ in range(5))
    assert min(took(much) for _ in range(5)) < 8 * least


@given(
    magic=st.sampled_from([b"", b"#!AMR\n", b"#!AMR-WB\n", b"#!AMR", b"\xff\xf1", b"OggS"]),
    data=st.binary(max_size=200),
)
def test_any_bytes_last_for_some_time(magic: bytes, data: bytes) -> None:
    assert exceeds_duration(magic + data, 1000.0) is False


def test_a_long_frame_at_the_end_is_no_harm() -> None:
    assert not exceeds_duration(b"#!AMR\n" + b"\x3c", 1.0)
    assert not exceeds_duration(adts(bytes(100))[:7], 1.0)
