"""The bot's voice notes: saved, and compared with the texts they should say."""

from __future__ import annotations

from pathlib import Path

from sandbox import Sandbox
from sandbox.demo.round_trip import LEAST_MATCH, check_round_trip
from sandbox.demo.screen import Screen
from sandbox.demo.turn import Turn
from sandbox.demo.voice_notes import display_path
from sandbox.speech import Speech, is_arabic
from sandbox.speech.codec import Codec
from sandbox.twilio.messages import Outbound
from sandbox.twilio.voice_note import NotAVoiceNote, read_voice_note


class VoiceAnswers:
    """Voice notes of the bot, numbered from 1; ``link`` says whether to show where to hear them."""

    def __init__(
        self,
        *,
        sandbox: Sandbox,
        screen: Screen,
        speech: Speech,
        codec: Codec,
        folder: Path,
        link: bool,
    ) -> None:
        self._sandbox = sandbox
        self._screen = screen
        self._speech = speech
        self._codec = codec
        self._folder = folder
        self._link = link
        # What was spoken for each answer, because the bridge's cache has no need to ask again.
        self._spoken: dict[str, str] = {}

    def save(self, message: Outbound) -> None:
        """Save a voice note and show where it is, unless it was not fetched."""
        audio = message.audio
        if audio is None:
            return
        voices = [each for each in self._sandbox.twilio.messages() if each.media_url]
        number = [each.sid for each in voices].index(message.sid) + 1
        path = self._folder / f"answer-{number}.ogg"
        path.write_bytes(audio)
        try:
            length = f"{read_voice_note(audio).seconds:.1f} s, "
        except NotAVoiceNote:
            length = ""
        size = f"{max(round(len(audio) / 1000), 1)} KB"
        self._screen.labelled("Voice answer", f"{display_path(path)} ({length}{size})")
        if self._link:
            self._screen.labelled("Listen", f"{self._sandbox.control.url}/answers/{number}")

    def check(self, turn: Turn) -> str:
        """Transcribe the voice answer and show the match; returns what is wrong, or nothing."""
        expected = self._expected_text(turn)
        if turn.voice is None or turn.voice.audio is None:
            return ""
        if is_arabic(expected):
            self._screen.text("Not transcribed, because the models here hear too little Arabic.")
            return ""
        with self._screen.step("Transcribing the voice answer"):
            result = check_round_trip(
                turn.voice.audio, expected, speech=self._speech, codec=self._codec
            )
        match = f"{result.match:.0%} match"
        self._screen.labelled("Transcript", f"{result.transcript}  ({match})")
        if result.passed:
            return ""
        return f"The voice answer differs from the text: {match}, less than {LEAST_MATCH:.0%}."

    def _expected_text(self, turn: Turn) -> str:
        if spoken := turn.synthesized_text:
            self._spoken[turn.answer] = spoken
        return self._spoken.get(turn.answer, turn.answer)
