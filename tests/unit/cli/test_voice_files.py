from __future__ import annotations

import base64
import os
from pathlib import Path
from urllib.parse import urlencode

import imageio_ffmpeg
import pytest

from audio.formats import OPUS, detect_format
from cli.voice_files import NOTE_BYTES, voice_note_address
from cli.webhook import Message
from core.settings import Account
from media import INLINE
from sandbox import CREDENTIALS
from sandbox.speech.codec import Codec
from sandbox.speech.tone import sine
from web.request_limits import BODY_LIMIT

CODEC = Codec(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())


def test_the_largest_note_fits_into_a_webhook() -> None:
    account = Account(
        TWILIO_ACCOUNT_SID=CREDENTIALS["TWILIO_ACCOUNT_SID"],
        TWILIO_AUTH_TOKEN=CREDENTIALS["TWILIO_AUTH_TOKEN"],
        TWILIO_WHATSAPP_FROM=CREDENTIALS["TWILIO_WHATSAPP_FROM"],
        PUBLIC_URL="http://127.0.0.1:8000",
    )
    note = base64.b64encode(os.urandom(NOTE_BYTES)).decode()
    message = Message(f"whatsapp:US.{'9' * 128}", recording=INLINE + note)
    assert len(urlencode(message.form(account))) < BODY_LIMIT


@pytest.mark.parametrize(("kind", "seconds"), [("ogg", 2.0), ("mp3", 30.0)])
def test_a_recording_becomes_a_small_voice_note(kind: str, seconds: float, tmp_path: Path) -> None:
    file = tmp_path / "note"
    recording = CODEC.note(sine(440, seconds), kind)
    file.write_bytes(recording)
    address = voice_note_address(file)
    note = base64.b64decode(address.removeprefix(INLINE))
    assert detect_format(note) is OPUS
    assert len(note) <= NOTE_BYTES
    assert (note == recording) == (kind == "ogg")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"not a recording", "is no recording"),
        (CODEC.note(sine(440, 120.0), "mp3"), "is too long"),
    ],
)
def test_what_cannot_be_sent_is_explained(content: bytes, told: str, tmp_path: Path) -> None:
    file = tmp_path / "note"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=told):
        voice_note_address(file)
