"""Voice notes in, voice notes out."""

from __future__ import annotations

import pytest

from sandbox.speech import Transcript
from sandbox.speech.tone import noise, silence, sine
from sandbox.twilio.media import Ready
from tests.e2e.deployment import Deployment

QUESTION = "How do I register an electronic invoice?"
ARABIC_QUESTION = "كيف أسجل فاتورة إلكترونية؟"


def test_a_voice_note_is_answered_by_text_and_voice_note(deployment: Deployment) -> None:
    """The voice note is Ogg/Opus that the stand-in has fetched and can transcribe."""
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(QUESTION))
    voice = deployment.twilio.wait_for_voice(user)
    text = deployment.answers(user, 2)[0]
    assert [question.text for question in deployment.asked(user)] == [QUESTION]
    assert text.body.startswith("To register an electronic invoice")
    assert voice.audio_type == "audio/ogg"
    assert deployment.hear(voice) == " ".join(text.body.split())


def test_an_arabic_voice_note_is_answered_in_arabic_text_and_speech(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(ARABIC_QUESTION, "ara"))
    deployment.twilio.wait_for_voice(user)
    assert "سجّل الدخول" in deployment.answers(user, 2)[0].body
    assert {spoken.language_code for spoken in deployment.synthesised()} == {"ar"}


def test_a_transcript_reaches_the_agent_without_control_characters(deployment: Deployment) -> None:
    user = deployment.user()
    heard = "How do I register\x07 an \u202eelectronic\u202c invoice?\x00"
    deployment.twilio.speak(user, deployment.note(heard))
    deployment.twilio.wait_for_voice(user)
    assert [question.text for question in deployment.asked(user)] == [QUESTION]


@pytest.mark.parametrize("kind", ["ogg", "m4a", "aac", "mp3", "amr"])
def test_every_audio_format_of_whatsapp_is_transcribed(deployment: Deployment, kind: str) -> None:
    user = deployment.user()
    note, content_type = deployment.recording(QUESTION, kind)
    deployment.twilio.speak(user, note, content_type=content_type)
    deployment.twilio.wait_for_voice(user)
    assert [question.text for question in deployment.asked(user)] == [QUESTION]


def test_a_recording_that_is_not_there_yet_is_fetched_later(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(QUESTION), not_ready=Ready(calls=2))
    deployment.twilio.wait_for_voice(user)


def test_a_long_answer_is_spoken_without_its_markup(deployment: Deployment) -> None:
    """No tables, code, addresses or marks; the stand-in records a violation for each."""
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note("Please send me the complete guide in detail"))
    voice = deployment.twilio.wait_for_voice(user, timeout=60)
    heard = deployment.hear(voice)
    assert heard.startswith("Electronic invoicing, step by step.")
    assert "Office chair" not in heard
    assert "example.com" not in heard
    assert voice.audio is not None
    assert len(voice.audio) <= 512 * 1024


@pytest.mark.parametrize(
    ("pcm", "phrase"),
    [
        (silence(3), "Sorry, I couldn't hear what you said."),
        (sine(300, 0.15, margin=0), "Sorry, I couldn't hear what you said."),
        (noise(2), "Sorry, I couldn't hear what you said."),
    ],
    ids=["silence", "too short", "no words"],
)
def test_a_note_without_words_asks_to_repeat(
    deployment: Deployment, pcm: bytes, phrase: str
) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.codec.note(pcm))
    assert deployment.answers(user, 1)[0].body.startswith(phrase)
    assert deployment.asked(user) == []
    deployment.expect_no_more(user, 1)


def test_silence_is_not_transcribed(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.codec.note(silence(3)))
    deployment.answers(user, 1)
    assert deployment.calls("elevenlabs", "transcribe") == []


def test_a_note_longer_than_the_limit_is_not_transcribed(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.codec.note(sine(300, 301)))
    assert "too long" in deployment.answers(user, 1)[0].body
    assert deployment.calls("elevenlabs", "transcribe") == []


def test_an_uncertain_transcript_asks_to_repeat(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(Transcript("mumble", "eng", probability=0.3)))
    assert deployment.answers(user, 1)[0].body.startswith("Sorry, I couldn't hear")


def test_bytes_that_are_no_audio_get_a_polite_line(deployment: Deployment) -> None:
    user = deployment.user()
    deployment.twilio.speak(user, b"OggS" + b"junk" * 500)
    assert "couldn't play that recording" in deployment.answers(user, 1)[0].body


def test_voice_can_be_switched_on_and_off_by_writing(deployment: Deployment) -> None:
    user = deployment.user()
    assert "voice notes from now on" in deployment.ask("Voice on", user).body
    deployment.twilio.say(user, "thanks")
    deployment.twilio.wait_for_voice(user)
    deployment.twilio.say(user, "voice off.")
    deployment.answers(user, 4)
    deployment.twilio.speak(user, deployment.note(QUESTION))
    deployment.answers(user, 5)
    deployment.expect_no_more(user, 5)


def test_voice_can_be_switched_on_in_arabic(deployment: Deployment) -> None:
    assert "سأجيبك برسائل صوتية" in deployment.ask("تشغيل الصوت").body


def test_a_voice_turn_has_its_log_lines_and_metrics(deployment: Deployment) -> None:
    """The log lines and metrics that operators know, with nothing private in them."""
    user = deployment.user()
    deployment.twilio.speak(user, deployment.note(QUESTION))
    deployment.twilio.wait_for_voice(user)
    figures = deployment.metrics()
    for stage in ("download_time", "stt_time", "agentforce_time", "tts_time", "total_time"):
        assert figures[stage]["count"] >= 1
        assert figures[stage].keys() >= {"count", "avg", "min", "max", "p50", "p95", "p99"}
    log = deployment.log()
    for line in (
        "Pre-warming Agentforce session",
        "⏱️ Download time: ",
        "⏱️ STT time: ",
        "⏱️ Agentforce time: ",
        "⏱️ TTS time: ",
        "⏱️ Total processing time: ",
    ):
        assert line in log
    for secret in (user, user.removeprefix("whatsapp:+"), QUESTION, "log in to the invoicing"):
        assert secret not in log
