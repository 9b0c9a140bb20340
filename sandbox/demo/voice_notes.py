"""Voice notes that the user sends: from a file, or spoken by the sandbox's voice."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from sandbox.bridge import ROOT
from sandbox.speech import Speech
from sandbox.speech.codec import NOTES, Codec, Undecodable

CONTENT_TYPES = {f".{kind}": content_type for kind, (content_type, _) in NOTES.items()} | {
    ".opus": "audio/ogg"
}


class UnusableRecording(Exception):
    """A file that cannot be sent; the message is a sentence that says why."""


@dataclass(frozen=True)
class VoiceNote:
    """A recording in a format of phones, and its name for the user."""

    audio: bytes
    content_type: str
    name: str


def load_voice_note(path: Path, codec: Codec) -> VoiceNote:
    """Read a file; formats that phones do not send are converted. Raises UnusableRecording."""
    name = display_path(path)
    try:
        audio = path.read_bytes()
        content_type = CONTENT_TYPES.get(path.suffix.lower())
        if content_type is None:
            audio, content_type = codec.note(codec.decode(audio)), NOTES["ogg"][0]
    except (OSError, Undecodable) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not audio"
        raise UnusableRecording(f"{name} cannot be sent: {reason}.") from None
    return VoiceNote(audio, content_type, name)


def speak_voice_note(text: str, speech: Speech, codec: Codec) -> VoiceNote:
    """``text`` read aloud by the sandbox's voice."""
    audio = codec.encode(speech.synthesize(text, None), "opus_48000_32")
    return VoiceNote(audio, NOTES["ogg"][0], f"“{text}”, spoken")


def user_path(text: str) -> Path:
    """A path that the user typed; ``~`` is the home folder, also where no shell has expanded it."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        # There is no such user.
        return Path(text)


def display_path(path: Path) -> str:
    """The path for a shell, relative to the project's folder if it is inside."""
    absolute = path.resolve()
    short = absolute.relative_to(ROOT) if absolute.is_relative_to(ROOT) else absolute
    return shlex.quote(str(short))
