"""Recordings decoded while, or after, they are downloaded from the stand-in for Twilio."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import imageio_ffmpeg
import psutil
import pytest
import requests

import media as media_module
from audio.ffmpeg import STREAMS_AT_ONCE, Ffmpeg
from audio.trimming import trim
from core.errors import AudioSilent, AudioTooLong, AudioUnreadable, BridgeError, MediaError
from media import MediaDownloader, VoiceNoteLoader
from media import _OpusListener as OpusListener
from metrics import Metrics
from sandbox import CREDENTIALS, Sandbox
from sandbox.faults import Fault
from sandbox.speech.codec import Codec
from sandbox.speech.fixture import FixtureSpeech
from sandbox.speech.tone import noise, pitches, silence, sine
from sandbox.twilio.media import Ready
from tests.unit.audio.recordings import HEARD, REFUSED
from tests.unit.audio.recordings import Recording as Sample

USER = "whatsapp:+14155550100"
LONGEST = 10.0
TONE = silence(0.5) + sine(440, 1.5)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())


@pytest.fixture(scope="module")
def started() -> Iterator[Sandbox]:
    with Sandbox(speech=FixtureSpeech()) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(started: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    started.recorder.clear()
    started.faults.clear()
    monkeypatch.setattr(media_module, "RETRY_DELAYS", (0.0, 0.0, 0.0))
    return started


@pytest.fixture
def media(sandbox: Sandbox) -> Iterator[MediaDownloader]:
    with requests.Session() as session:
        yield MediaDownloader(
            session=session,
            metrics=Metrics(),
            api_url=sandbox.twilio.url,
            account_sid=CREDENTIALS["TWILIO_ACCOUNT_SID"],
            auth_token=CREDENTIALS["TWILIO_AUTH_TOKEN"],
            media_hosts=(sandbox.twilio.cdn.host,),
        )


class CountingFfmpeg(Ffmpeg):
    """Counts recordings that were decoded after their download."""

    def __init__(self, **options: object) -> None:
        super().__init__(max_seconds=LONGEST, **options)  # type: ignore[arg-type]
        self.decoded_later = 0

    def decode(self, data: bytes | bytearray) -> bytes:
        self.decoded_later += 1
        return super().decode(data)


@pytest.fixture
def ffmpeg() -> CountingFfmpeg:
    return CountingFfmpeg()


@pytest.fixture
def voice_note_loader(media: MediaDownloader, ffmpeg: CountingFfmpeg) -> Iterator[VoiceNoteLoader]:
    """Leaves no child and no place behind, whatever is heard."""
    children = set(psutil.Process().children())
    yield VoiceNoteLoader(media=media, ffmpeg=ffmpeg, max_seconds=LONGEST)
    assert set(psutil.Process().children()) <= children
    streams = [ffmpeg.open_stream() for _ in range(STREAMS_AT_ONCE)]
    assert all(streams)
    for stream in streams:
        assert stream
        stream.close()


def recorded(sandbox: Sandbox, audio: bytes, missing: int = 0) -> str:
    return sandbox.twilio.forms.voice(USER, audio, ready=Ready(calls=missing))["MediaUrl0"]


def fail(sandbox: Sandbox, call: str, kind: str, times: int | None = 1) -> None:
    sandbox.faults.add(Fault("twilio", call, kind, times=times, seconds=0.0))  # type: ignore[arg-type]


def test_a_voice_note_is_converted_by_the_end_of_its_download(
    sandbox: Sandbox, codec: Codec, voice_note_loader: VoiceNoteLoader, ffmpeg: CountingFfmpeg
) -> None:
    """As it would be behind it, to the sample, and without converting again."""
    note = codec.note(TONE)
    recording = voice_note_loader.load(recorded(sandbox, note))
    assert ffmpeg.decoded_later == 0
    assert recording.pcm == trim(ffmpeg.decode(note), max_seconds=LONGEST)
    assert recording.download_time > 0
    assert recording.convert_time > 0


def test_the_decoder_starts_before_the_cdn_is_asked(
    sandbox: Sandbox, codec: Codec, media: MediaDownloader
) -> None:
    asked: list[list[str]] = []

    class Listener:
        def begin(self) -> None:
            asked.append([call.name for call in sandbox.recorder.calls("twilio")])

        def write(self, chunk: bytes) -> None:
            assert asked

    media.download(recorded(sandbox, codec.note(TONE), missing=1), Listener())
    assert asked == [["media", "media"]]


@pytest.mark.parametrize("sample", HEARD, ids=lambda each: each.name)
def test_any_supported_recording_is_loaded(
    sandbox: Sandbox, voice_note_loader: VoiceNoteLoader, ffmpeg: CountingFfmpeg, sample: Sample
) -> None:
    """All but plain Ogg/Opus are decoded after their download."""
    recording = voice_note_loader.load(recorded(sandbox, sample.make(TONE)))
    assert ffmpeg.decoded_later == (sample.name != "Ogg, Opus, plain")
    assert pitches(recording.pcm) == [pytest.approx(440, abs=3)]


@pytest.mark.parametrize("sample", REFUSED, ids=lambda each: each.name)
def test_the_format_of_an_unsupported_recording_is_named(
    sandbox: Sandbox, voice_note_loader: VoiceNoteLoader, sample: Sample
) -> None:
    with pytest.raises(AudioUnreadable, match=f"not supported: '{sample.logged}'"):
        voice_note_loader.load(recorded(sandbox, sample.make(TONE)))


def test_ogg_behind_another_format_is_not_decoded(
    sandbox: Sandbox, codec: Codec, voice_note_loader: VoiceNoteLoader, ffmpeg: CountingFfmpeg
) -> None:
    """The streaming decoder would find the note that follows the MP3."""
    both = codec.note(TONE, "mp3") + codec.note(sine(880, 3.0))
    recording = voice_note_loader.load(recorded(sandbox, both))
    assert ffmpeg.decoded_later == 1
    assert recording.pcm == trim(ffmpeg.decode(both), max_seconds=LONGEST)


def test_a_recording_that_arrives_byte_by_byte_is_decoded_meanwhile(
    sandbox: Sandbox, codec: Codec, voice_note_loader: VoiceNoteLoader, ffmpeg: CountingFfmpeg
) -> None:
    fail(sandbox, "media_cdn", "trickle")
    note = codec.note(sine(440, 0.5))
    recording = voice_note_loader.load(recorded(sandbox, note))
    assert ffmpeg.decoded_later == 0
    assert recording.pcm == trim(ffmpeg.decode(note), max_seconds=LONGEST)


@pytest.mark.parametrize("kind", ["cut", "reset", "vanish"])
@pytest.mark.parametrize("call", ["media", "media_cdn"])
def test_a_repeated_download_is_decoded_from_its_beginning(
    sandbox: Sandbox,
    codec: Codec,
    voice_note_loader: VoiceNoteLoader,
    ffmpeg: CountingFfmpeg,
    call: str,
    kind: str,
) -> None:
    """The bytes of a download that broke off are not decoded twice."""
    fail(sandbox, call, kind, times=2)
    note = codec.note(TONE)
    recording = voice_note_loader.load(recorded(sandbox, note, missing=1))
    assert ffmpeg.decoded_later == 0
    assert recording.pcm == trim(ffmpeg.decode(note), max_seconds=LONGEST)


def test_a_download_that_breaks_off_before_its_format_is_known_is_forgotten(
    codec: Codec, ffmpeg: CountingFfmpeg
) -> None:
    note = codec.note(TONE)
    with closing(OpusListener(ffmpeg)) as listener:
        for part in (note[:10], note):
            listener.begin()
            listener.write(part)
        assert listener.pcm() == ffmpeg.decode(note)


def test_a_download_that_fails_leaves_nothing_running(
    sandbox: Sandbox, codec: Codec, voice_note_loader: VoiceNoteLoader
) -> None:
    """More often than there are streaming decoders; the fixture looks what is left."""
    fail(sandbox, "media_cdn", "cut", times=None)
    for _ in range(STREAMS_AT_ONCE + 1):
        with pytest.raises(MediaError):
            voice_note_loader.load(recorded(sandbox, codec.note(TONE)))


def test_if_all_streaming_decoders_are_busy_it_is_decoded_later(
    sandbox: Sandbox, codec: Codec, voice_note_loader: VoiceNoteLoader, ffmpeg: CountingFfmpeg
) -> None:
    """Complete recordings do not wait for stalled downloads."""
    stalled = [ffmpeg.open_stream() for _ in range(STREAMS_AT_ONCE)]
    assert ffmpeg.open_stream() is None
    recording = voice_note_loader.load(recorded(sandbox, codec.note(TONE)))
    assert ffmpeg.decoded_later == 1
    assert recording.pcm
    for stream in stalled:
        assert stream
        stream.close()


def test_many_recordings_at_once_are_all_decoded(
    sandbox: Sandbox, codec: Codec, voice_note_loader: VoiceNoteLoader, ffmpeg: CountingFfmpeg
) -> None:
    note = codec.note(TONE)
    urls = [recorded(sandbox, note) for _ in range(3 * STREAMS_AT_ONCE)]
    heard: list[bytes] = []
    threads = [
        threading.Thread(target=lambda url=url: heard.append(voice_note_loader.load(url).pcm))
        for url in urls
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [trim(ffmpeg.decode(note), max_seconds=LONGEST)] * len(urls)


def test_a_broken_decoder_breaks_no_download(
    sandbox: Sandbox, codec: Codec, media: MediaDownloader, tmp_path: Path
) -> None:
    """A decoder that cannot start is tried again after the download, and may fail there."""
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    for path in (str(broken), "/nowhere/ffmpeg"):
        ffmpeg = CountingFfmpeg(path=path)
        voice_note_loader = VoiceNoteLoader(media=media, ffmpeg=ffmpeg, max_seconds=LONGEST)
        with pytest.raises(BridgeError) as caught:
            voice_note_loader.load(recorded(sandbox, codec.note(TONE)))
        assert caught.value.phrase == "audio_unreadable"
        assert ffmpeg.decoded_later == 1


def test_a_damaged_recording_is_decoded_around_the_damage(
    sandbox: Sandbox, codec: Codec, voice_note_loader: VoiceNoteLoader, ffmpeg: CountingFfmpeg
) -> None:
    """The streaming decoder may stop at the damage, so its result is not used."""
    note = bytearray(codec.note(sine(440, 4.0)))
    note[len(note) // 2] ^= 0xFF
    recording = voice_note_loader.load(recorded(sandbox, bytes(note)))
    assert ffmpeg.decoded_later == 1
    assert len(recording.pcm) > 32_000


@pytest.mark.parametrize(
    ("pcm", "error"),
    [(silence(2.0), AudioSilent), (noise(LONGEST + 5), AudioTooLong)],
    ids=["silent", "long"],
)
def test_silent_and_long_recordings_are_refused(
    sandbox: Sandbox,
    codec: Codec,
    voice_note_loader: VoiceNoteLoader,
    pcm: bytes,
    error: type[BridgeError],
) -> None:
    with pytest.raises(error):
        voice_note_loader.load(recorded(sandbox, codec.note(pcm)))


@pytest.mark.parametrize("audio", [b"", b"O", b"OggS" + bytes(20), b"<html>" + bytes(100)])
def test_bytes_that_are_no_audio_are_unreadable(
    sandbox: Sandbox, voice_note_loader: VoiceNoteLoader, audio: bytes
) -> None:
    with pytest.raises(AudioUnreadable):
        voice_note_loader.load(recorded(sandbox, audio))
