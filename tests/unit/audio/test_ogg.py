"""Ogg/Opus joined by its pages; ffmpeg and a checksum written anew say whether that is right."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate

import imageio_ffmpeg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio import ogg
from audio.ffmpeg import Ffmpeg, opus_seconds
from audio.ffmpeg_arguments import SAMPLE_RATE, SAMPLE_WIDTH
from core.errors import AudioUnreadable
from sandbox.speech import Sound
from sandbox.speech.codec import Codec
from sandbox.speech.tone import noise, sine
from sandbox.twilio.voice_note import read_voice_note
from tests.unit.ogg_pages import (
    CONTINUED,
    FIRST,
    FRAME,
    FRAME_SAMPLES,
    HEAD,
    LAST,
    SILENT_FRAMES,
    TAGS,
    Page,
    packed,
    stream,
)

PLAIN = packed(stream([[FRAME] * 3, [FRAME] * 2]))
# Opus needs as long to forget what it decoded before (RFC 7845 §4.6).
PREROLL = SAMPLE_RATE * SAMPLE_WIDTH * 80 // 1000
PRESKIP = 312


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())


@pytest.fixture(scope="module")
def ffmpeg() -> Ffmpeg:
    return Ffmpeg(max_seconds=60)


def spoken(codec: Codec, *lengths: float) -> list[bytes]:
    return [
        codec.encode(
            Sound(noise(length) + sine(300 + 50 * at, length), SAMPLE_RATE), "opus_48000_32"
        )
        for at, length in enumerate(lengths)
    ]


def pages_of(data: bytes) -> list[Page]:
    """The pages of a file that is known to be good."""
    pages = []
    while data:
        body = 27 + data[26]
        lacing = data[27:body]
        end = body + sum(lacing)
        granule, serial, number = (
            int.from_bytes(data[6:14], "little", signed=True),
            int.from_bytes(data[14:18], "little"),
            int.from_bytes(data[18:22], "little"),
        )
        pages.append(Page(data[5], granule, number, lacing, data[body:end], serial))
        assert pages[-1].packed() == data[:end]
        data = data[end:]
    return pages


def packets_of(data: bytes) -> list[bytes]:
    """All packets with sound."""
    packets, unfinished = [], b""
    for page in pages_of(data)[2:]:
        at = 0
        for size in page.lacing:
            unfinished += page.body[at : at + size]
            at += size
            if size < 255:
                packets.append(unfinished)
                unfinished = b""
    assert not unfinished
    return packets


def test_every_packet_is_kept_and_none_is_changed(codec: Codec) -> None:
    segments = spoken(codec, 0.7, 1.3, 0.4, 0.9)
    joined = ogg.join(segments)
    assert packets_of(joined) == [packet for segment in segments for packet in packets_of(segment)]
    assert read_voice_note(joined)


def test_each_segment_sounds_as_it_does_alone(codec: Codec, ffmpeg: Ffmpeg) -> None:
    """From where Opus has forgotten the segment before; one of the encoder's bits at most apart."""
    segments = spoken(codec, 0.7, 1.3, 0.4)
    together = ffmpeg.decode(ogg.join(segments))
    # What the encoder puts before and behind a segment is heard within the note, so segments lie at
    # whole packets; at 16 kHz a packet of 20 ms is 320 samples.
    starts = [0, *accumulate(len(packets_of(segment)) * 320 for segment in segments)]
    assert len(together) == (starts[-1] * 3 - PRESKIP - _trimmed(segments[-1])) // 3 * SAMPLE_WIDTH
    for segment, start in zip(segments, starts[:-1], strict=True):
        alone = ffmpeg.decode(segment)
        begin = start * SAMPLE_WIDTH
        within = together[begin : begin + len(alone)]
        assert _apart(alone[PREROLL:], within[PREROLL:]) <= 1


def _trimmed(segment: bytes) -> int:
    """In samples of 48 kHz."""
    return len(packets_of(segment)) * FRAME_SAMPLES - pages_of(segment)[-1].granule


def _apart(one: bytes, other: bytes) -> int:
    assert len(one) == len(other)
    pairs = zip(memoryview(one).cast("h"), memoryview(other).cast("h"), strict=True)
    return max(abs(left - right) for left, right in pairs)


def test_ffmpeg_joins_to_the_same_sound(codec: Codec, ffmpeg: Ffmpeg) -> None:
    segments = spoken(codec, 0.7, 1.3, 0.4)
    assert ffmpeg.decode(ogg.join(segments)) == ffmpeg.decode(ffmpeg._concatenate(segments))


def test_only_the_end_of_the_note_is_trimmed() -> None:
    first = stream([[FRAME] * 3], trimmed=100)
    second = stream([[FRAME] * 2, [FRAME]], trimmed=200, serial=9)
    pages = pages_of(ogg.join([packed(first), packed(second)]))
    assert [page.granule for page in pages] == [0, 0, 3 * 960, 5 * 960, 6 * 960 - 200]
    assert [page.flags for page in pages] == [FIRST, 0, 0, 0, LAST]
    assert [page.number for page in pages] == [0, 1, 2, 3, 4]
    assert {page.serial for page in pages} == {7}


def test_an_end_that_was_not_said_is_said() -> None:
    unended = packed([*stream([[FRAME]])[:2], Page.of([FRAME], number=2, granule=960)])
    flags = [page.flags for page in pages_of(ogg.join([unended, unended]))]
    assert flags == [FIRST, 0, 0, LAST]


def test_a_chain_becomes_one_stream(codec: Codec) -> None:
    """ElevenLabs may send one for a single segment (docs/providers/elevenlabs.md, "Ogg/Opus")."""
    segments = spoken(codec, 0.4, 0.5)
    assert ogg.join([b"".join(segments)]) == ogg.join(segments)


def test_a_segment_alone_is_not_touched() -> None:
    assert ogg.join([PLAIN]) is PLAIN


def test_packets_may_run_over_pages() -> None:
    long = FRAME + bytes(600)
    body = (long, long)
    lacing = b"\xff\xff\x5d"
    split = [
        *stream([[FRAME]])[:2],
        Page(0, -1, 2, lacing[:2], long[:510]),
        Page(CONTINUED, 960, 3, lacing[2:] + b"\xff", long[510:] + long[:255]),
        Page(CONTINUED | LAST, 1920, 4, lacing[1:], long[255:]),
    ]
    joined = ogg.join([packed(split), PLAIN])
    assert packets_of(joined) == [*body, *[FRAME] * 5]
    assert [page.granule for page in pages_of(joined)[2:]] == [-1, 960, 1920, 4800, 6720]


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"\x00", 480),
        (b"\x18", 2880),
        (b"\x19", 5760),
        (b"\x60", 480),
        (b"\x80", 120),
        (b"\xf8", 960),
        (b"\xfa\x01", 1920),
        (b"\xfb\x06", 5760),
        (b"\xfb\x01", 960),
        (b"\xe3\x30", 5760),
    ],
    ids=str,
)
def test_packets_say_how_long_they_last(packet: bytes, samples: int) -> None:
    alike = packed(stream([[packet]], samples=samples))
    pages = pages_of(ogg.join([alike, alike]))
    assert [page.granule for page in pages[2:]] == [samples, 2 * samples]


@given(
    segments=st.lists(
        st.tuples(
            st.lists(st.integers(1, 20), min_size=1, max_size=4),
            st.integers(0, 900),
            st.sampled_from([(FRAME, 960), (SILENT_FRAMES, 5760), (FRAME + bytes(252), 960)]),
        ),
        min_size=2,
        max_size=4,
    )
)
@settings(max_examples=40)
def test_any_segments_add_up(segments: list[tuple[list[int], int, tuple[bytes, int]]]) -> None:
    made = []
    total = 0
    for counts, trimmed, (packet, samples) in segments:
        sound = [[packet] * count for count in counts]
        made.append(packed(stream(sound, samples=samples, trimmed=trimmed)))
        total += samples * sum(map(len, sound))
    joined = ogg.join(made)
    assert packets_of(joined) == [packet for segment in made for packet in packets_of(segment)]
    assert pages_of(joined)[-1].granule == total - segments[-1][1]
    assert read_voice_note(joined).seconds == (total - segments[-1][1] - PRESKIP) / 48_000


def changed(at: int, **changes: object) -> bytes:
    """A plain file with one page otherwise, checksum and all."""
    pages = stream([[FRAME] * 3, [FRAME] * 2])
    pages[at] = replace(pages[at], **changes)  # type: ignore[arg-type]
    return packed(pages)


def headed(head: bytes = HEAD, tags: bytes = TAGS) -> bytes:
    return packed(stream([[FRAME]], head=head, tags=tags))


BROKEN = {
    "nothing": b"",
    "no Ogg": b"<html>",
    "cut off": PLAIN[:-1],
    "cut in a header": PLAIN[:-10],
    "something behind it": PLAIN + b"x",
    "zeros behind it": PLAIN + bytes(100),
    "a wrong checksum": PLAIN[:-1] + bytes([PLAIN[-1] ^ 1]),
    "another version": PLAIN[:4] + b"\1" + PLAIN[5:],
    "no beginning": packed(stream([[FRAME]])[1:]),
    "no sound": packed(stream([[FRAME]])[:2]),
    "headers alone": packed(stream([[FRAME]])[:1]),
    "a missing page": packed([*stream([[FRAME]] * 3)[:3], *stream([[FRAME]] * 3)[4:]]),
    "doubled pages": packed([*stream([[FRAME]] * 3)[:3], *stream([[FRAME]] * 3)[2:]]),
    "pages of another stream": changed(3, serial=8),
    "an end within": changed(2, flags=LAST),
    "continued from nowhere": changed(3, flags=CONTINUED),
    "an unfinished packet": changed(3, lacing=b"\xff", body=FRAME + bytes(252)),
    "an unfinished packet within": changed(2, lacing=b"\xff", body=FRAME + bytes(252), granule=-1),
    "an empty packet": changed(3, lacing=b"\0\3", body=FRAME),
    "half a packet": changed(3, lacing=b"\1\3", body=b"\xfb" + FRAME),
    "no frames": changed(3, lacing=b"\2\3", body=b"\xfb\x00" + FRAME),
    "too many frames": changed(3, lacing=b"\2\3", body=b"\xfb\x07" + FRAME),
    "no segments": changed(2, lacing=b"", body=b""),
    "a late start": changed(2, granule=48_000),
    "too early a time": changed(2, granule=959),
    "a time past the end": changed(3, granule=5 * 960 + 1),
    "an end before the last page": changed(3, granule=3 * 960),
    "no time": changed(3, granule=-1),
    "a time before time": changed(3, granule=-(2**62)),
    "Vorbis": headed(head=b"\x01vorbis" + bytes(23)),
    "another Opus": headed(head=HEAD[:8] + b"\x10" + HEAD[9:]),
    "a channel map": headed(head=HEAD[:18] + b"\x01\1\0\0"),
    "an unknown mapping": headed(head=HEAD[:18] + b"\xff"),
    "a short head": headed(head=HEAD[:18]),
    "no comment": headed(tags=FRAME),
    "a comment of several pages": packed(
        [
            *stream([[FRAME]])[:1],
            Page(0, -1, 1, b"\xff" * 255, TAGS.ljust(255 * 255, b"\0")),
            Page(CONTINUED, 0, 2, b"\0", b""),
            Page(LAST, 960, 3, b"\3", FRAME),
        ]
    ),
    "two packets at the head": changed(0, lacing=b"\x13\3", body=HEAD + FRAME),
}  # fmt: skip


@pytest.mark.parametrize("segment", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("first", [True, False])
def test_whatever_is_not_plain_is_left_alone(segment: bytes, first: bool) -> None:
    with pytest.raises(AudioUnreadable):
        ogg.join([segment, PLAIN] if first else [PLAIN, segment])


@pytest.mark.parametrize(
    "head",
    [
        HEAD[:9] + b"\2" + HEAD[10:],
        HEAD[:16] + b"\1\0" + HEAD[18:],
    ],
    ids=["stereo", "gain"],
)
def test_segments_of_different_kinds_are_not_mixed(head: bytes) -> None:
    other = headed(head=head)
    assert ogg.join([other]) is other
    with pytest.raises(AudioUnreadable, match="differ"):
        ogg.join([PLAIN, other])


def test_segments_may_differ_in_what_is_only_said() -> None:
    other = headed(head=HEAD[:10] + b"\0\1" + b"\x80\xbb\0\0" + HEAD[16:])
    assert len(packets_of(ogg.join([PLAIN, other]))) == 6


@given(data=st.data())
@settings(max_examples=200)
def test_any_damage_is_noticed(data: st.DataObject) -> None:
    """The checksum covers every bit of a page."""
    damaged = bytearray(PLAIN)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(AudioUnreadable):
        ogg.join([PLAIN, bytes(damaged)])


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_refused(data: bytes, begun: bool) -> None:
    with pytest.raises(AudioUnreadable):
        ogg.join([PLAIN, (b"OggS\0" if begun else b"x") + data])


def test_what_is_not_plain_is_joined_by_ffmpeg(codec: Codec, ffmpeg: Ffmpeg) -> None:
    segments = spoken(codec, 0.4, 0.5)
    late = [replace(page, granule=page.granule + 96_000) for page in pages_of(segments[1])[2:]]
    odd = packed([*pages_of(segments[1])[:2], *late])
    with pytest.raises(AudioUnreadable):
        ogg.join([segments[0], odd])
    joined = ffmpeg.join([segments[0], odd])
    assert packets_of(joined) == packets_of(segments[0]) + packets_of(segments[1])


MANY: dict[str, Callable[[int], bytes]] = {
    "pages": lambda size: packed(stream([[FRAME]] * (size // 31))),
    "packets": lambda size: packed(stream([[FRAME] * 255] * (size // 1047))),
    "pages without a packet": lambda size: packed(
        [*stream([[FRAME]]), *[Page(0, -1, number, b"", b"") for number in range(3, size // 27)]]
    ),
    "streams": lambda size: packed(stream([[FRAME]])) * (size // 145),
    "beginnings of pages": lambda size: b"OggS" * (size // 4),
    "beginnings of names": lambda size: b"O" * size,
    "bytes of a packet": lambda size: packed(
        [*stream([]), *[Page(at > 2, -1, at, b"\xff" * 255, b"\xfc" * 255 * 255)
                        for at in range(2, 2 + size // 65_000)]]
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", MANY.values(), ids=MANY)
def test_its_cost_grows_no_faster_than_the_file(make: Callable[[int], bytes]) -> None:
    """16 times the file; a square would take 256 times as long."""

    def took(data: bytes) -> float:
        before = time.thread_time()
        with suppress(AudioUnreadable):
            ogg.join([data, PLAIN])
        opus_seconds(data)
        return time.thread_time() - before

    small, large = make(64 * 1024), make(1024 * 1024)
    least = min(took(small) for _ in range(3))
    assert min(took(large) for _ in range(3)) < 64 * least + 0.01
