"""Recordings in every format, sent as signed webhooks: heard, or refused in one polite line."""

from __future__ import annotations

import pytest

from sandbox.speech import Transcript
from sandbox.speech.tone import sine
from tests.e2e.deployment import Deployment
from tests.unit.audio.recordings import HEARD, REFUSED, Recording

PITCH = 440
TONE = sine(PITCH, 1.5)
QUESTION = "How do I register an electronic invoice?"
UNREADABLE = "Sorry, I couldn't play that recording."
UNSUPPORTED = "Sorry, I can only read text and listen to voice notes."

FORMATS = {each.name: each for each in HEARD}
PLAIN = FORMATS["Ogg, Opus, plain"]
# One of each container and one of each way to begin; the others are heard by the same service in
# tests/unit/test_recording.py.
SAMPLE = [
    PLAIN,
    *(
        FORMATS[name]
        for name in (
            "Ogg, Opus, ID3 tag",
            "MP4, AAC, `mdat` before `ftyp`",
            "MP4, ALAC, then AAC in a second track, plain",
            "MP4, Opus, plain",
            "QuickTime, PCM, plain",
            "3GP, AMR-NB, plain",
            "ADTS, AAC, ID3 tag",
            "ADTS, AAC, 20 foreign bytes",
            "MP3, MP3, zeros",
            "MP3, MP3, cut within a frame",
            "MP3, MP2, plain",
            "WAV, 16-bit PCM, plain",
            "CAF, Opus, packet table behind the sound",
            "WebM, Opus, of unknown length",
            "FLAC, FLAC, plain",
        )
    ),
]


def spoken(deployment: Deployment, recording: Recording) -> bytes:
    """The question in that format, encoded once: the stand-in tells words by an exact pitch."""
    deployment.speech.tones.add(PITCH, Transcript(QUESTION, "eng"))
    return recording.make(TONE)


@pytest.mark.parametrize("recording", SAMPLE, ids=lambda each: each.name)
def test_a_forwarded_recording_is_heard(deployment: Deployment, recording: Recording) -> None:
    user = deployment.user()
    audio = spoken(deployment, recording)
    deployment.twilio.speak(user, audio, content_type=recording.media_type)
    deployment.twilio.wait_for_voice(user)
    assert [question.text for question in deployment.asked(user)] == [QUESTION]


@pytest.mark.parametrize(
    "media_type",
    ["", "application/ogg", "application/octet-stream", "audio/mpeg", "video/mp4", "text/plain"],
)
def test_what_is_sent_as_audio_is_heard_whatever_its_media_type(
    deployment: Deployment, media_type: str
) -> None:
    user = deployment.user()
    form = deployment.twilio.forms.voice(user, spoken(deployment, PLAIN))
    form["MediaContentType0"] = media_type
    deployment.twilio.deliver(form)
    deployment.twilio.wait_for_voice(user)
    assert [question.text for question in deployment.asked(user)] == [QUESTION]


@pytest.mark.parametrize("field", ["MessageType", "MediaContentType0"])
def test_a_recording_is_heard_without_one_of_the_fields_that_say_what_it_is(
    deployment: Deployment, field: str
) -> None:
    user = deployment.user()
    form = deployment.twilio.forms.voice(user, spoken(deployment, PLAIN))
    del form[field]
    deployment.twilio.deliver(form)
    deployment.twilio.wait_for_voice(user)
    assert [question.text for question in deployment.asked(user)] == [QUESTION]


@pytest.mark.parametrize("recording", REFUSED, ids=lambda each: each.name)
def test_what_cannot_be_heard_gets_one_line_and_its_format_is_logged(
    deployment: Deployment, recording: Recording
) -> None:
    user = deployment.user()
    before = len(deployment.log())
    audio = spoken(deployment, recording)
    deployment.twilio.speak(user, audio, content_type=recording.media_type)
    assert deployment.answers(user, 1)[0].body.startswith(UNREADABLE)
    assert f"format that is not supported: '{recording.logged}'" in deployment.log()[before:]
    deployment.expect_no_more(user, 1)


def test_a_video_gets_the_polite_line_and_is_not_fetched(deployment: Deployment) -> None:
    """Even one whose sound could be heard."""
    user = deployment.user()
    form = deployment.twilio.forms.video(user, spoken(deployment, FORMATS["MP4, Opus, plain"]))
    deployment.twilio.deliver(form)
    assert deployment.answers(user, 1)[0].body.startswith(UNSUPPORTED)
    assert not deployment.sandbox.recorder.calls("twilio", "media")
