"""The response of ElevenLabs' speech to text (docs/providers/elevenlabs.md, "Transcripts")."""

from __future__ import annotations

import math
import uuid
from typing import Any

from sandbox.elevenlabs.requests import Transcribe
from sandbox.speech import Transcript

_TWO_LETTERS = {"eng": "en", "ara": "ar"}

Word = dict[str, Any]


def transcript_json(
    transcript: Transcript, form: Transcribe, seconds: float, *, two_letters: bool = False
) -> dict[str, Any]:
    """The single-channel response; ``seconds`` is the length of the audio."""
    text = transcript.text
    words = [] if form.timestamps_granularity == "none" else _words(transcript, form, seconds)
    if not text and form.tag_audio_events:
        text = "(silence)"
        words = [_word(text, "audio_event", 0.0, seconds, 0.0)]
    language = transcript.language
    return {
        "language_code": _TWO_LETTERS.get(language, language) if two_letters else language,
        "language_probability": transcript.probability,
        "text": text,
        "words": words,
        "channel_index": None,
        "additional_formats": None,
        "transcription_id": uuid.uuid4().hex[:20],
        "entities": None,
        "audio_duration_secs": round(seconds, 3),
        "edited_transcript": None,
    }


def _words(transcript: Transcript, form: Transcribe, seconds: float) -> list[Word]:
    """Words and the spaces between them, distributed evenly over the audio."""
    pieces: list[str] = []
    for piece in transcript.text.split():
        pieces += [" ", piece] if pieces else [piece]
    seconds_per_character = seconds / max(1, len(transcript.text))
    logprob = math.log(max(transcript.probability, 0.01))
    words: list[Word] = []
    start = 0.0
    for piece in pieces:
        end = start + seconds_per_character * len(piece)
        kind = "spacing" if piece == " " else "word"
        words.append(_word(piece, kind, start, end, logprob))
        if form.timestamps_granularity == "character":
            words[-1]["characters"] = _characters(piece, start, seconds_per_character)
        start = end
    return words


def _word(text: str, kind: str, start: float, end: float, logprob: float) -> Word:
    return {
        "text": text,
        "start": round(start, 3),
        "end": round(end, 3),
        "type": kind,
        "speaker_id": "speaker_0",
        "logprob": logprob,
        "characters": None,
        "channel_index": None,
    }


def _characters(piece: str, start: float, seconds_per_character: float) -> list[dict[str, Any]]:
    return [
        {
            "text": character,
            "start": round(start + seconds_per_character * number, 3),
            "end": round(start + seconds_per_character * (number + 1), 3),
        }
        for number, character in enumerate(piece)
    ]
