"""Delivery of voice notes, and status callbacks of the Twilio stand-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imageio_ffmpeg
import pytest
from twilio.request_validator import RequestValidator

from sandbox.faults import Fault, Faults
from sandbox.speech.codec import Codec
from sandbox.speech.tone import sine
from sandbox.twilio.delivery_simulator import VOICE_NOTE_LIMIT_BYTES
from sandbox.twilio.standin import TwilioStandIn
from tests.sandbox.bot import Bot
from tests.sandbox.twilio.account import TOKEN, USER, recording, rules, send, wait_for_status


def test_a_voice_note_is_fetched_and_delivered(
    twilio: TwilioStandIn, bot: Bot, note: bytes
) -> None:
    """The recording is fetched by HEAD and GET, and signed callbacks report each status."""
    twilio.say(USER, "hi")
    callback = f"{bot.url}/status"
    created = send(twilio, MediaUrl=bot.publish(note), StatusCallback=callback).json()
    assert created["sid"].startswith("MM")
    voice = twilio.wait_for_voice(USER, 5)
    assert (voice.audio, voice.audio_type) == (note, "audio/ogg")
    assert bot.methods == ["HEAD", "GET"]
    twilio.recorder.wait_for(lambda: len(bot.callbacks) == 2, 5)
    assert [one["MessageStatus"] for one in bot.callbacks] == ["sent", "delivered"]
    signature = bot.headers[-1]["X-Twilio-Signature"]
    assert RequestValidator(TOKEN).validate(callback, bot.callbacks[-1], signature)
    assert twilio.recorder.violations == []


def test_an_mp3_is_delivered_too(twilio: TwilioStandIn, bot: Bot, note: bytes) -> None:
    """WhatsApp accepts MP3 as a file; other content with this type is refused."""
    twilio.say(USER, "hi")
    mp3 = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe()).note(sine(440, 1.0), "mp3")
    send(twilio, MediaUrl=bot.publish(mp3, "audio/mpeg"))
    assert twilio.wait_for_voice(USER, 5).audio_type == "audio/mpeg"
    assert twilio.recorder.violations == []
    sid = send(twilio, MediaUrl=bot.publish(note, "audio/mpeg")).json()["sid"]
    assert wait_for_status(twilio, sid, "undelivered").error_code == 63019
    assert rules(twilio.recorder) == ["the recording is no MP3"]


@pytest.mark.parametrize("call", ["text", "voice"])
def test_delivery_can_be_made_to_fail(
    twilio: TwilioStandIn, bot: Bot, note: bytes, faults: Faults, call: str
) -> None:
    """The message is accepted and later undelivered; messages of the other kind are delivered."""
    twilio.say(USER, "hi")
    faults.add(Fault("twilio", call, "undelivered", code=63024))
    sids = {
        "text": send(twilio, Body="x", StatusCallback=f"{bot.url}/status").json()["sid"],
        "voice": send(twilio, MediaUrl=bot.publish(note)).json()["sid"],
    }
    assert wait_for_status(twilio, sids.pop(call), "undelivered").error_code == 63024
    assert wait_for_status(twilio, sids.popitem()[1], "delivered").error_code is None
    assert twilio.recorder.violations == []


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("twice", ["sent", "sent", "delivered", "delivered"]),
        ("reversed", ["delivered", "sent"]),
        ("unsigned", ["sent", "delivered"]),
    ],
)
def test_callbacks_can_be_repeated_reordered_or_forged(
    twilio: TwilioStandIn, bot: Bot, faults: Faults, kind: Any, statuses: list[str]
) -> None:
    """Twilio guarantees neither their order nor that each comes only once."""
    twilio.say(USER, "hi")
    faults.add(Fault("twilio", "callback", kind))
    callback = f"{bot.url}/status?sending=1"
    send(twilio, Body="x", StatusCallback=callback)
    twilio.recorder.wait_for(lambda: len(bot.callbacks) == len(statuses), 5)
    assert [one["MessageStatus"] for one in bot.callbacks] == statuses
    signature = bot.headers[-1]["X-Twilio-Signature"]
    genuine = RequestValidator(TOKEN).validate(callback, bot.callbacks[-1], signature)
    assert genuine is (kind != "unsigned")


def test_callbacks_can_come_before_the_send_is_answered(
    twilio: TwilioStandIn, bot: Bot, faults: Faults
) -> None:
    twilio.say(USER, "hi")
    faults.add(Fault("twilio", "callback", "early"))
    send(twilio, Body="x", StatusCallback=f"{bot.url}/status")
    assert [one["MessageStatus"] for one in bot.callbacks] == ["sent", "delivered"]


Spoil = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda note: b"", "the file is empty"),
        (lambda note: b"ID3" + note, "not an Ogg file"),
        (lambda note: note + note, "a chained Ogg: it holds more than one stream"),
        (lambda note: note[:-10], "the last page is cut off"),
        (lambda note: note[:-1] + bytes([note[-1] ^ 1]), "wrong checksum"),
        (lambda note: recording(channels=2), "2 channels instead of one"),
    ],
)
def test_invalid_voice_notes_are_not_delivered(
    twilio: TwilioStandIn, bot: Bot, note: bytes, spoil: Spoil, rule: str
) -> None:
    """A recording that a phone could not play is undelivered, with code 63019."""
    twilio.say(USER, "hi")
    sid = send(twilio, MediaUrl=bot.publish(spoil(note))).json()["sid"]
    message = wait_for_status(twilio, sid, "undelivered")
    assert (message.error_code, message.audio) == (63019, None)
    assert rules(twilio.recorder)[0].startswith(f"the recording is no voice note: {rule}")


@pytest.mark.parametrize("kind", ["application/octet-stream", "audio/x-wav", "audio/opus"])
def test_a_recording_needs_the_right_type(
    twilio: TwilioStandIn, bot: Bot, note: bytes, kind: str
) -> None:
    """A recording under any type but audio/ogg is undelivered."""
    twilio.say(USER, "hi")
    sid = send(twilio, MediaUrl=bot.publish(note, kind)).json()["sid"]
    assert wait_for_status(twilio, sid, "undelivered").error_code == 63019
    assert rules(twilio.recorder) == [f"the MediaUrl has content type {kind}, not audio/ogg"]


def test_a_recording_that_is_gone_is_undelivered(twilio: TwilioStandIn, bot: Bot) -> None:
    """A 404 is a violation as well; an unreachable bot is not."""
    twilio.say(USER, "hi")
    sid = send(twilio, MediaUrl=f"{bot.url}/media/gone.ogg").json()["sid"]
    assert wait_for_status(twilio, sid, "undelivered").error_code == 63019
    assert rules(twilio.recorder) == ["HEAD of the MediaUrl answered 404"]
    bot.stop()
    sid = send(twilio, MediaUrl=f"{bot.url}/media/gone.ogg").json()["sid"]
    assert wait_for_status(twilio, sid, "undelivered").error_code == 63019
    assert len(twilio.recorder.violations) == 1


def test_imperfect_voice_notes_are_delivered_with_violations(
    twilio: TwilioStandIn, bot: Bot
) -> None:
    """The note is too large for a play button, and its URL can be guessed."""
    twilio.say(USER, "hi")
    large = recording(seconds=18, rate="256k")
    assert len(large) > VOICE_NOTE_LIMIT_BYTES
    send(twilio, Body="caption", MediaUrl=bot.publish(large, name="1.ogg"))
    assert twilio.wait_for_voice(USER, 5).body == ""
    assert rules(twilio.recorder) == [
        "a text and a recording in one message: the text is lost",
        f"the note has {len(large)} bytes; over 512 KB it loses its play button",
        "the MediaUrl can be guessed: its name is shorter than 128 bits",
    ]


def test_a_refused_callback_is_a_violation(twilio: TwilioStandIn, bot: Bot) -> None:
    """A status callback must be answered with 2xx."""
    twilio.say(USER, "hi")
    bot.callback_status = 500
    send(twilio, Body="x", StatusCallback=f"{bot.url}/status")
    twilio.recorder.wait_for(lambda: len(twilio.recorder.violations) == 2, 5)
    assert rules(twilio.recorder) == ["11200 the callback answered 500"] * 2
