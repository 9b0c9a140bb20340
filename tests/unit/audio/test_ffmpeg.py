"""Audio through the real ffmpeg of the wheel."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imageio_ffmpeg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydub import AudioSegment
from pydub.silence import detect_leading_silence

from audio import ffmpeg_process as conversion
from audio.ffmpeg import NOTE_MAX_BYTES, Ffmpeg, opus_seconds
from audio.ffmpeg_arguments import SAMPLE_RATE
from audio.formats import MP3, detect_format
from audio.trimming import (
    EDGE_STEP_MS,
    MIN_SECONDS,
    SILENCE_EDGE_DBFS,
    _leading_silence_ms,
    pcm_seconds,
    trim,
)
from core.errors import AudioError, AudioSilent, AudioTooLong, AudioTooShort, AudioUnreadable
from sandbox.speech import Sound
from sandbox.speech.codec import Codec
from sandbox.speech.tone import noise, pitches, silence, sine
from sandbox.twilio.voice_note import NotAVoiceNote, read_voice_note

LONGEST = 5.0
PATIENCE = 60.0
TONE = sine(440, 1.5)
EXE = imageio_ffmpeg.get_ffmpeg_exe()


@pytest.fixture(scope="module")
def ffmpeg() -> Ffmpeg:
    return Ffmpeg(max_seconds=LONGEST)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(ffmpeg=EXE)


def made(*options: str, pcm: bytes = TONE) -> bytes:
    """``pcm`` in a format that can be written to a pipe."""
    source = [EXE, "-v", "error", "-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-i", "-"]
    return subprocess.run(
        [*source, *options, "-"], input=pcm, capture_output=True, check=True
    ).stdout


def with_index_in_front(m4a: bytes, folder: Path) -> bytes:
    before, after = folder / "in.m4a", folder / "out.m4a"
    before.write_bytes(m4a)
    command = [EXE, "-v", "error", "-i", str(before), "-c", "copy", "-movflags", "+faststart"]
    subprocess.run([*command, str(after)], check=True)
    return bytes(after.read_bytes())


def is_the_tone(pcm: bytes, seconds: float = pcm_seconds(TONE)) -> bool:
    heard = pitches(pcm)
    return heard == [pytest.approx(440, abs=3)] and abs(pcm_seconds(pcm) - seconds) < 0.15


def test_a_voice_note_becomes_an_mp3_of_the_same_sound(ffmpeg: Ffmpeg, codec: Codec) -> None:
    mp3 = ffmpeg.encode_mp3(codec.note(TONE))
    assert detect_format(mp3) == MP3
    assert is_the_tone(ffmpeg.decode(mp3))


@pytest.mark.parametrize("kind", ["ogg", "m4a", "aac", "mp3", "amr"])
def test_what_phones_record_is_decoded(ffmpeg: Ffmpeg, codec: Codec, kind: str) -> None:
    """An iPhone's m4a has its index behind the audio."""
    note = codec.note(TONE, kind)
    if kind == "m4a":
        assert note.index(b"mdat") < note.index(b"moov")
    assert is_the_tone(ffmpeg.decode(note))


@pytest.mark.parametrize(
    "options",
    [
        ("-f", "ogg", "-c:a", "libopus", "-ac", "2", "-ar", "48000"),
        ("-f", "ogg", "-c:a", "libvorbis"),
        ("-f", "mp3", "-ar", "44100", "-id3v2_version", "0", "-write_xing", "0"),
        ("-f", "mp3", "-metadata", "title=hello"),
        ("-f", "adts", "-c:a", "aac"),
    ],
    ids=" ".join,
)
def test_other_kinds_of_them_are_decoded(ffmpeg: Ffmpeg, options: tuple[str, ...]) -> None:
    assert is_the_tone(ffmpeg.decode(made(*options)))


def test_an_index_in_front_is_read_too(ffmpeg: Ffmpeg, codec: Codec, tmp_path: Path) -> None:
    assert is_the_tone(ffmpeg.decode(with_index_in_front(codec.note(TONE, "m4a"), tmp_path)))


@pytest.mark.parametrize("kind", ["ogg", "m4a", "aac", "mp3", "amr"])
def test_a_long_recording_is_decoded_no_further_than_needed(
    ffmpeg: Ffmpeg, codec: Codec, kind: str
) -> None:
    """Long enough that ``trim`` sees it is too long."""
    pcm = ffmpeg.decode(codec.note(sine(440, 3 * LONGEST), kind))
    assert pcm_seconds(pcm) == pytest.approx(LONGEST + 1, abs=0.1)
    with pytest.raises(AudioTooLong):
        trim(pcm, max_seconds=LONGEST)


def test_recordings_that_come_together_are_decoded_each_by_itself(
    ffmpeg: Ffmpeg, codec: Codec
) -> None:
    """One that is broken is heard around the break, and does no harm to the others."""
    good = codec.note(TONE)
    middle = len(good) // 2
    damaged = good[:middle] + bytes(200) + good[middle + 200 :]
    with ThreadPoolExecutor(4) as pool:
        *others, broken = pool.map(ffmpeg.decode, [good, good, good, damaged])
    assert all(map(is_the_tone, others))
    assert 0.3 < pcm_seconds(broken) <= pcm_seconds(TONE)


def test_a_recording_cut_off_in_transit_is_decoded_as_far_as_it_goes(
    ffmpeg: Ffmpeg, codec: Codec
) -> None:
    note = codec.note(TONE)
    assert 0.3 < pcm_seconds(ffmpeg.decode(note[: len(note) * 2 // 3])) < pcm_seconds(TONE)


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"O",
        b"OggS",
        b"OggS" + bytes(100),
        b"ID3",
        b"\xff",
        b"\xff\xfb",
        b"RIFF\x04\0\0\0WAVE",
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\x18ftypM4A " + b"\xff" * 64,
        b"\x1aE\xdf\xa3" + b"\xff" * 64,
        b"#!AMR\n",
        b"#!AMR\n" + b"\xff" * 64,
        b"#!/bin/sh\nreboot\n",
        b"#EXTM3U\nhttp://127.0.0.1:9/x.ts\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"<html>not what you asked for</html>",
        b"%PDF-1.4\n%%EOF\n",
        b"\xff\xd8\xff\xe0JFIF",
        b"RIFF\x04\0\0\0WEBP",
        b"text",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_hostile_bytes_are_unreadable(ffmpeg: Ffmpeg, hostile: bytes) -> None:
    with pytest.raises(AudioUnreadable):
        ffmpeg.decode(hostile)


@pytest.mark.parametrize(
    ("data", "demuxer", "seeks"),
    [
        (b"OggS\0", "ogg", False),
        (b"#!AMR\n", "amr", False),
        (b"#!AMR-WB\n", "amr", False),
        (b"\0\0\0\x20ftypisom", "mov", True),
        (b"\0\0\0\x203ftyp3gp4"[:4] + b"ftyp3gp4", "mov", True),
        (b"\0\0\0\x08wide", "mov", True),
        (b"RIFF\0\0\0\0WAVEfmt ", "wav", False),
        (b"caff\0\1", "caf", True),
        (b"fLaC", "flac", False),
        (b"\x1aE\xdf\xa3", "matroska", False),
    ],
)
def test_the_bytes_tell_the_container(data: bytes, demuxer: str, seeks: bool) -> None:
    found = detect_format(data)
    assert found is not None
    assert (found.demuxer, found.seeks) == (demuxer, seeks)


@given(data=st.data())
@settings(max_examples=15)
def test_damaged_recordings_are_decoded_or_unreadable(
    ffmpeg: Ffmpeg, codec: Codec, data: st.DataObject
) -> None:
    note = bytearray(codec.note(TONE, data.draw(st.sampled_from(["ogg", "m4a", "mp3", "amr"]))))
    for _ in range(data.draw(st.integers(1, 20))):
        note[data.draw(st.integers(0, len(note) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(AudioUnreadable):
        assert ffmpeg.decode(bytes(note))


def test_a_missing_program_is_an_audio_error(codec: Codec) -> None:
    with pytest.raises(AudioError, match="cannot be run"):
        Ffmpeg(path="/nowhere/ffmpeg", max_seconds=1).decode(codec.note(TONE))


def test_a_conversion_that_hangs_is_ended(
    codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = tmp_path / "ffmpeg"
    stuck.write_text("#!/bin/sh\nexec sleep 60\n")
    stuck.chmod(0o755)
    monkeypatch.setattr(conversion, "TIMEOUT_SECONDS", 0.05)
    with pytest.raises(AudioUnreadable, match="too long"):
        Ffmpeg(path=str(stuck), max_seconds=1).decode(codec.note(TONE))


def test_speech_is_kept_and_the_silence_around_it_is_not() -> None:
    speech = sine(440, 1.0, margin=0)
    trimmed = trim(silence(2.0) + speech + silence(1.5), max_seconds=10)
    assert is_the_tone(trimmed, seconds=1.3)
    assert len(trimmed) >= len(speech)


def test_pauses_and_quiet_beginnings_are_kept() -> None:
    def quiet(pcm: bytes, divisor: int) -> bytes:
        samples = memoryview(pcm).cast("h")
        return b"".join(
            (sample // divisor).to_bytes(2, "little", signed=True) for sample in samples
        )

    word = sine(440, 0.5, margin=0)
    spoken = quiet(word, 30) + silence(1.0) + word + silence(0.8) + word
    assert trim(spoken, max_seconds=10) == spoken


@given(
    loudness=st.lists(st.sampled_from([0, 80, 103, 104, 110, 3000]), min_size=15, max_size=60),
    rest=st.integers(0, 19),
)
def test_silence_is_measured_as_pydub_measures_it(loudness: list[int], rest: int) -> None:
    """Steps of 20 ms around its threshold, and a last one that may be shorter."""
    steps = [
        loud.to_bytes(2, "little") + (-loud).to_bytes(2, "little", signed=True) for loud in loudness
    ]
    pcm = b"".join(step * 160 for step in steps) + steps[0] * (8 * rest)
    sound = AudioSegment(data=pcm, sample_width=2, frame_rate=SAMPLE_RATE, channels=1)
    for way in (sound, sound.reverse()):
        measured = detect_leading_silence(way, SILENCE_EDGE_DBFS, EDGE_STEP_MS)
        assert _leading_silence_ms(way) == measured


def test_silence_costs_little_to_measure() -> None:
    """Far less than one object for each step would."""
    click = sine(440, 0.2, margin=0)
    quiet = silence(100) + click + silence(100)

    def took(measure: Callable[[], object]) -> float:
        before = time.thread_time()
        measure()
        return time.thread_time() - before

    sound = AudioSegment(data=quiet, sample_width=2, frame_rate=SAMPLE_RATE, channels=1)
    pydubs = min(took(lambda: detect_leading_silence(sound, -50.0, 20)) for _ in range(3))
    # That is one side of two.
    assert min(took(lambda: trim(quiet, max_seconds=300)) for _ in range(3)) < pydubs


def test_whispers_are_no_silence() -> None:
    whisper = b"".join(
        (sample // 60).to_bytes(2, "little", signed=True) for sample in memoryview(TONE).cast("h")
    )
    assert pcm_seconds(trim(whisper, max_seconds=10)) > 1


@pytest.mark.parametrize(
    ("pcm", "error"),
    [
        (b"", AudioTooShort),
        (b"\0", AudioTooShort),
        (sine(440, MIN_SECONDS - 0.05, margin=0), AudioTooShort),
        (silence(3.0), AudioSilent),
        (bytes(random.Random(1).choice(b"\x00\x01") if at % 2 == 0 else 0 for at in range(64_000)),
         AudioSilent),
        (silence(1.0) + sine(440, 0.05, margin=0) + silence(1.0), AudioTooShort),
        (sine(440, 6.0), AudioTooLong),
        (silence(6.0), AudioTooLong),
    ],
    ids=["empty", "odd", "short", "silent", "hiss", "click", "long", "long silence"],
)  # fmt: skip
def test_what_holds_no_speech_is_refused_before_it_costs(
    pcm: bytes, error: type[AudioError]
) -> None:
    with pytest.raises(error):
        trim(pcm, max_seconds=LONGEST)


def test_the_longest_allowed_recording_is_taken() -> None:
    assert trim(noise(LONGEST), max_seconds=LONGEST)


def test_half_a_sample_at_the_end_does_no_harm() -> None:
    assert trim(TONE + b"\x01", max_seconds=LONGEST)


@pytest.mark.parametrize("lengths", [(0.5, 1.0), (0.3, 0.7, 1.1, 0.4, 0.9)], ids=len)
def test_segments_are_joined_into_one_link(
    ffmpeg: Ffmpeg, codec: Codec, lengths: tuple[float, ...]
) -> None:
    """Every segment is heard, in order, and the length is the sum of theirs.

    The encoder's 6.5 ms at the beginning and up to 20 ms at the end of each cannot be cut out.
    """
    tones = [300 + 100 * number for number in range(len(lengths))]
    segments = [
        codec.encode(Sound(sine(tone, length), SAMPLE_RATE), "opus_48000_32")
        for tone, length in zip(tones, lengths, strict=True)
    ]
    joined = ffmpeg.join(segments)
    with pytest.raises(NotAVoiceNote):
        read_voice_note(b"".join(segments))
    total = sum(opus_seconds(segment) for segment in segments)
    assert total <= opus_seconds(joined) < total + 0.03 * len(segments)
    assert read_voice_note(joined).seconds == pytest.approx(pcm_seconds(codec.decode(joined)))
    assert pitches(codec.decode(joined)) == [pytest.approx(tone, abs=3) for tone in tones]


def test_one_segment_is_a_note_already(ffmpeg: Ffmpeg, codec: Codec) -> None:
    segment = codec.encode(Sound(TONE, SAMPLE_RATE), "opus_48000_32")
    assert ffmpeg.join([segment]) is segment


def test_segments_that_are_no_audio_are_unreadable(ffmpeg: Ffmpeg, codec: Codec) -> None:
    with pytest.raises(AudioUnreadable):
        ffmpeg.join([b"<html>", codec.note(TONE)])


@pytest.mark.parametrize("kind", ["mp3_44100_128", "opus_48000_64"])
def test_any_audio_becomes_a_voice_note(ffmpeg: Ffmpeg, codec: Codec, kind: str) -> None:
    note = ffmpeg.encode_note(codec.encode(Sound(TONE, SAMPLE_RATE), kind))
    assert read_voice_note(note).seconds == pytest.approx(pcm_seconds(TONE), abs=0.1)
    assert is_the_tone(codec.decode(note))


def test_a_small_note_stays_as_it_is(ffmpeg: Ffmpeg, codec: Codec) -> None:
    note = codec.note(TONE)
    assert ffmpeg.fit_note(note) is note
    assert ffmpeg.fit_note(note, limit=len(note)) is note


def test_a_large_note_loses_bits_and_not_seconds(ffmpeg: Ffmpeg) -> None:
    """Noise is what Opus packs worst."""
    note = made("-f", "ogg", "-c:a", "libopus", "-b:a", "256k", pcm=noise(20.0))
    assert len(note) > NOTE_MAX_BYTES
    smaller = ffmpeg.fit_note(note)
    assert len(smaller) <= NOTE_MAX_BYTES
    assert read_voice_note(smaller).seconds == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("limit", [20_000, 9_000])
def test_a_tighter_limit_is_kept_too(ffmpeg: Ffmpeg, codec: Codec, limit: int) -> None:
    note = codec.encode(Sound(noise(6.0), SAMPLE_RATE), "opus_48000_64")
    assert len(note) > limit
    assert len(ffmpeg.fit_note(note, limit=limit)) <= limit


def test_a_note_too_long_for_any_bit_rate_is_refused(ffmpeg: Ffmpeg, codec: Codec) -> None:
    with pytest.raises(AudioTooLong):
        ffmpeg.fit_note(codec.note(noise(5.0)), limit=1000)


@pytest.mark.parametrize("note", [b"", b"no Ogg", b"OggS", b"OggS" + b"\xff" * 30])
def test_the_length_of_no_note_is_nothing(note: bytes) -> None:
    assert opus_seconds(note) <= 0
