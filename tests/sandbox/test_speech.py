"""Tones, codecs and models: the ElevenLabs stand-in's speech recognition and synthesis."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imageio_ffmpeg
import pytest

from sandbox.speech import PACK_COMMAND, PACK_MISSING, Sound, Transcript, models, tone
from sandbox.speech.codec import NOTES, Codec, Undecodable
from sandbox.speech.espeak import EspeakFailed, EspeakProcess
from sandbox.speech.fixture import FixtureSpeech, ToneRegistry
from sandbox.speech.joined_model import WrongModel, joined_model
from sandbox.speech.local import LocalSpeech, MultilingualSpeech
from sandbox.speech.piper import PiperFailed, PiperProcess
from sandbox.speech.word_error_rate import compare

RECORDINGS = Path(__file__, "../../../sandbox/demo/recordings").resolve()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())


@pytest.fixture
def speech() -> FixtureSpeech:
    return FixtureSpeech()


@pytest.mark.parametrize("kind", NOTES)
def test_a_tone_is_recognised_in_every_format(
    codec: Codec, speech: FixtureSpeech, kind: str
) -> None:
    """The pitch survives every codec a phone may use."""
    speech.tones.add(440, Transcript("first"))
    speech.tones.add(452, Transcript("أين الطلب؟", "ara"))
    note = codec.note(tone.sine(452, 2.0), kind)
    assert speech.transcribe(codec.decode(note)) == Transcript("أين الطلب؟", "ara")


def test_a_wrong_sample_rate_gives_no_transcript(speech: FixtureSpeech) -> None:
    """PCM of 8 kHz that is read as 16 kHz is an octave higher."""
    speech.tones.add(440, Transcript("hello"))
    assert speech.transcribe(tone.sine(440, 2.0)).text == "hello"
    eight_thousand = memoryview(tone.sine(440, 2.0)).cast("h")[::2].tobytes()
    assert speech.transcribe(eight_thousand).text == ""


@pytest.mark.parametrize(
    "pcm",
    [b"", b"\0", tone.silence(2.0), tone.noise(2.0), tone.sine(700, 1.0), tone.sine(440, 0.03)],
    ids=["nothing", "half a sample", "silence", "noise", "an unknown tone", "a click"],
)
def test_other_sounds_have_no_transcript(speech: FixtureSpeech, pcm: bytes) -> None:
    """Silence, noise and unknown tones have an empty transcript."""
    speech.tones.add(440, Transcript("hello"))
    assert speech.transcribe(pcm).text == ""


def test_only_tones_have_a_pitch() -> None:
    """Tones between silences are measured separately; noise is left out."""
    pcm = tone.sine(440, 1.0) + tone.noise(1.0) + tone.sine(1555, 0.2)
    assert tone.pitches(pcm) == [pytest.approx(440, abs=0.1), pytest.approx(1555, abs=0.5)]


@pytest.mark.parametrize("output_format", ["opus_48000_32", "mp3_44100_128", "wav_24000"])
def test_a_synthesized_text_is_its_own_transcript(
    codec: Codec, speech: FixtureSpeech, output_format: str
) -> None:
    """With its language, in all formats."""
    sound = speech.synthesize("مرحبا، كيف يمكنني مساعدتك؟", "ar")
    transcript = speech.transcribe(codec.decode(codec.encode(sound, output_format)))
    assert (transcript.text, transcript.language) == ("مرحبا، كيف يمكنني مساعدتك؟", "ara")


def test_joined_pieces_are_transcribed_in_their_order(codec: Codec, speech: FixtureSpeech) -> None:
    """A voice note of several texts has all of them as its transcript."""
    texts = [f"This is sentence number {number}." for number in range(8)]
    joined = b"".join(speech.synthesize(text, "en").pcm for text in texts)
    assert speech.transcribe(codec.decode(codec.note(joined))).text == " ".join(texts)


def test_synthesized_speech_takes_sixty_milliseconds_per_character(speech: FixtureSpeech) -> None:
    assert speech.synthesize("x" * 100, "en").seconds == pytest.approx(6.0)


def test_with_more_texts_than_tones_the_oldest_lose_theirs() -> None:
    """The newest texts always have a tone of their own."""
    known = ToneRegistry()
    texts = [f"text {number}" for number in range(2 * len(ToneRegistry.ANSWER_TONES_HZ))]
    tones = {text: known.assign(Transcript(text)) for text in texts}
    newest = texts[len(ToneRegistry.ANSWER_TONES_HZ) :]
    assert [known.find(tones[text]) for text in newest] == [Transcript(text) for text in newest]


@pytest.mark.parametrize(
    ("output_format", "described"),
    [
        ("opus_48000_32", "Audio: opus, 48000 Hz, mono"),
        ("mp3_44100_128", "Audio: mp3"),
        ("wav_16000", "Audio: pcm_s16le"),
    ],
)
def test_formats_match_their_names(
    codec: Codec, tmp_path: Path, output_format: str, described: str
) -> None:
    """ffmpeg recognises the container, the codec and one channel."""
    file = tmp_path / "audio"
    file.write_bytes(codec.encode(Sound(tone.sine(440, 1.0), tone.RATE), output_format))
    streams = _probe(file)
    assert described in streams and "mono" in streams


@pytest.mark.parametrize(("name", "bytes_a_second"), [("pcm_24000", 48_000), ("ulaw_8000", 8000)])
def test_raw_formats_have_no_header(codec: Codec, name: str, bytes_a_second: int) -> None:
    """Two seconds of raw audio are exactly two seconds of samples."""
    audio = codec.encode(Sound(tone.silence(2.0), tone.RATE), name)
    assert len(audio) == pytest.approx(2 * bytes_a_second, abs=8)


def test_the_same_sound_is_encoded_once() -> None:
    """Even for parallel threads; a failure is not cached."""
    codec = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())
    sound = Sound(tone.sine(440, 1.0), tone.RATE)
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: codec.encode(sound, "opus_48000_32"), range(8)))
    # Each run of ffmpeg gives the Ogg stream another serial number.
    assert len(set(files)) == 1
    with pytest.raises(Undecodable):
        codec.encode(sound, "opus_12345_32")
    assert codec.encode(sound, "opus_24000_32")


def test_other_files_are_undecodable(codec: Codec) -> None:
    """For example a web page."""
    with pytest.raises(Undecodable):
        codec.decode(b"<html>not audio</html>")


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSpeech]:
    try:
        speech = LocalSpeech()
    except models.ModelsMissing as missing:
        pytest.skip(str(missing))
    yield speech
    speech.close()


@pytest.mark.parametrize(
    ("recording", "words"),
    [
        ("question-en.ogg", "How do I register an electronic invoice?"),
        (
            "question-long-en.ogg",
            "How do I register an electronic invoice? Please explain all the steps in detail.",
        ),
    ],
)
def test_whisper_transcribes_the_recordings(
    local: LocalSpeech, codec: Codec, recording: str, words: str
) -> None:
    """Word for word."""
    assert local.transcribe(codec.decode((RECORDINGS / recording).read_bytes())).text == words


def test_whisper_transcribes_pipers_speech(local: LocalSpeech, codec: Codec) -> None:
    """After encoding as a voice note, and with several lines."""
    sound = local.synthesize("Open the billing page.\nThen choose new invoice.", "en")
    transcript = local.transcribe(codec.decode(codec.encode(sound, "opus_48000_32")))
    assert transcript.text.lower().startswith("open the billing page")


@pytest.mark.parametrize("pcm", [tone.silence(2.0), tone.noise(2.0)], ids=["silence", "noise"])
def test_whisper_makes_up_no_words(local: LocalSpeech, pcm: bytes) -> None:
    """Without speech the transcript is empty."""
    assert local.transcribe(pcm).text == ""


def test_texts_that_piper_cannot_read_have_a_sound(local: LocalSpeech) -> None:
    """Arabic becomes a tone, a text without words silence, and Piper keeps running."""
    assert local.synthesize("مرحبا كيف حالك", None).seconds == pytest.approx(14 * 0.06, abs=0.01)
    assert local.synthesize("…", "en").seconds > 0
    assert local.synthesize("Still here.", "en").seconds > 0.3


def test_without_the_language_pack_arabic_speech_says_what_is_missing(
    local: LocalSpeech, codec: Codec
) -> None:
    """English speech says nothing of it."""
    hints = {
        name: local.transcribe(codec.decode((RECORDINGS / name).read_bytes())).hint
        for name in ("question-ar.ogg", "question-en.ogg", "question-long-en.ogg")
    }
    assert hints.pop("question-ar.ogg") == PACK_MISSING
    assert not any(hints.values())


@pytest.fixture(scope="module")
def multilingual() -> Iterator[MultilingualSpeech]:
    try:
        speech = MultilingualSpeech()
    except models.ModelsMissing as missing:
        pytest.skip(str(missing))
    yield speech
    speech.close()


@pytest.mark.speech
def test_a_conversation_may_be_in_english_and_arabic(
    multilingual: MultilingualSpeech, codec: Codec
) -> None:
    """Each recording is transcribed in its own language; the Arabic one keeps its main word."""
    english, arabic = (
        multilingual.transcribe(codec.decode((RECORDINGS / name).read_bytes()))
        for name in ("question-en.ogg", "question-ar.ogg")
    )
    assert (english.language, english.text, english.hint) == (
        "eng",
        "How do I register an electronic invoice?",
        "",
    )
    assert arabic.language == "ara"
    assert "فاتورة" in arabic.text
    assert arabic.hint == ""


@pytest.mark.speech
def test_arabic_texts_are_spoken(multilingual: MultilingualSpeech) -> None:
    """With the words of digits and Latin letters, as loud as speech is, and not as a tone."""
    plain = multilingual.synthesize("رقم الفاتورة، ورمزها صالح.", None)
    sound = multilingual.synthesize("رقم الفاتورة 2041، ورمزها QR صالح.", None)
    assert 1 < plain.seconds < sound.seconds < 10
    assert tone.pitches(sound.pcm) != [pytest.approx(440, abs=1)]
    assert max(memoryview(sound.pcm).cast("h")) > 5000


# Answers each line with the rate 16,000 and the line itself, padded to whole samples.
ECHO = r"""
import sys
for line in sys.stdin.buffer:
    line = line.strip()
    if line == b"crash":
        sys.exit("out of breath")
    if line == b"hang":
        sys.stdin.read()
    pcm = line + bytes(len(line) % 2)
    sys.stdout.buffer.write(b"16000 %d\n" % len(pcm) + pcm)
    sys.stdout.buffer.flush()
"""

# Answers with the number of its session.
SESSION = """
import os
input()
session = str(os.getsid(0))
print(f"16000 {len(session)}\\n{session}", end="", flush=True)
"""


@pytest.fixture
def echo() -> Iterator[EspeakProcess]:
    """A process with the protocol of espeak_program.py that needs no models."""
    process = EspeakProcess(command=[sys.executable, "-c", ECHO], timeout=2.0)
    yield process
    process.close()


def test_texts_of_several_lines_are_one_text_for_espeak(echo: EspeakProcess) -> None:
    """Also when many threads speak at once, each gets its own samples."""
    assert echo.synthesize("one\ntwo") == Sound(b"one two\0", 16_000)
    texts = [f"{number:04}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: echo.synthesize(text).pcm.decode(), texts)) == texts


@pytest.mark.parametrize(("text", "says"), [("crash", "out of breath"), ("hang", "too slow")])
def test_an_espeak_that_fails_says_why_and_is_started_again(
    echo: EspeakProcess, text: str, says: str
) -> None:
    with pytest.raises(EspeakFailed, match=says):
        echo.synthesize(text)
    assert echo.synthesize("well") == Sound(b"well", 16_000)


def test_ctrl_c_reaches_neither_ffmpeg_nor_espeak(tmp_path: Path) -> None:
    """It is sent to the terminal's session, so they must have others."""
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.write_text(f"#!{sys.executable}\nimport os\nprint(os.getsid(0))")
    ffmpeg.chmod(0o755)
    of_ffmpeg = Codec(ffmpeg=str(ffmpeg)).decode(b"").decode().strip()
    espeak = EspeakProcess(command=[sys.executable, "-c", SESSION])
    of_espeak = espeak.synthesize("hello").pcm.decode()
    espeak.close()
    assert len({of_ffmpeg, of_espeak, str(os.getsid(0))}) == 3


def test_a_piper_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error is the end of Piper's log."""
    piper = PiperProcess(voice=tmp_path / "missing.onnx")
    with pytest.raises(PiperFailed, match=r"missing\.onnx|No module named"):
        piper.synthesize("Hello.")
    piper.close()


@pytest.mark.parametrize("command", ["make setup", PACK_COMMAND])
def test_missing_models_are_named(command: str) -> None:
    """The error says which package is missing and what to run."""
    with pytest.raises(models.ModelsMissing, match=rf"no-such-package .*{command}"):
        models._find("no-such-package", "model.bin", command)


def test_a_model_is_joined_from_its_parts_once(tmp_path: Path) -> None:
    """In their order, with the files beside it; later the parts are not read again."""
    parts, config = _parts(tmp_path, b"first", b"second"), tmp_path / "config.json"
    config.write_text("{}")
    digest = hashlib.sha256(b"firstsecond").hexdigest()
    folder = joined_model(tmp_path / "to/model", parts=parts, sha256=digest, beside=[config])
    for part in parts:
        part.unlink()
    assert joined_model(folder, parts=parts, sha256=digest, beside=[config]) == folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        "model.bin": b"firstsecond",
        "config.json": b"{}",
    }


@pytest.mark.parametrize("second", [b"another", None], ids=["another part", "no part"])
def test_parts_that_are_not_the_model_leave_nothing(tmp_path: Path, second: bytes | None) -> None:
    """Neither the model, which the next start would take for complete, nor half of it."""
    parts = _parts(tmp_path, b"first", second)
    digest = hashlib.sha256(b"firstsecond").hexdigest()
    with pytest.raises((WrongModel, FileNotFoundError)):
        joined_model(tmp_path / "to/model", parts=parts, sha256=digest, beside=[])
    assert list((tmp_path / "to").iterdir()) == []


def test_of_two_processes_that_join_a_model_both_have_it(tmp_path: Path) -> None:
    parts, digest = _parts(tmp_path, b"a" * 5_000_000, b"b"), hashlib.sha256()
    digest.update(b"a" * 5_000_000 + b"b")

    def join(_: int) -> bytes:
        folder = joined_model(
            tmp_path / "to/model", parts=parts, sha256=digest.hexdigest(), beside=[]
        )
        return (folder / "model.bin").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert {len(model) for model in pool.map(join, range(4))} == {5_000_001}
    assert [file.name for file in (tmp_path / "to").iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("said", "heard", "words", "characters"),
    [
        ("لماذا رُفضت فاتورتي؟", "لماذا رفضت فاتورتى", 0, 0),
        ("أريد إلغاء الفاتورة.", "اريد الغاء الفاتوره", 0, 0),
        ("Open the invoice.", "open invoice", 1, 4),
        ("أين الطلب؟", "", 2, 9),
        ("No.", "No, no", 1, 3),
    ],
)
def test_errors_of_words_and_characters_are_counted(
    said: str, heard: str, words: int, characters: int
) -> None:
    """Vowel signs, hamza and punctuation do not count; insertions do."""
    errors = compare(said, heard)
    assert (errors.words, errors.characters) == (words, characters)


def _parts(folder: Path, *contents: bytes | None) -> list[Path]:
    """A file for each of ``contents``; none for None."""
    parts = [folder / f"part{number}" for number in range(len(contents))]
    for part, content in zip(parts, contents, strict=True):
        if content is not None:
            part.write_bytes(content)
    return parts


def _probe(file: Path) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr
