"""The demo with a single process: runs turns and shows them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sandbox import Sandbox
from sandbox.bridge import ROOT
from sandbox.demo.prompt import describe_violation
from sandbox.demo.round_trip import LEAST_MATCH, check_round_trip
from sandbox.demo.screen import Screen
from sandbox.demo.timeline import (
    BLOCKS,
    PLAIN_BLOCKS,
    Stage,
    draw_timeline,
    format_seconds,
    stages_of,
)
from sandbox.demo.turn import Exchange, Turn
from sandbox.speech import Speech, is_arabic
from sandbox.speech.codec import NOTES, Codec, Undecodable
from sandbox.twilio.messages import Outbound
from sandbox.twilio.voice_note import NotAVoiceNote, read_voice_note

LOG_LINES = 20
# The bridge counts a failure before it logs it.
LOG_DELAY_SECONDS = 0.3
CONTENT_TYPES = {f".{kind}": content_type for kind, (content_type, _) in NOTES.items()} | {
    ".opus": "audio/ogg"
}


class RunningBridge(Protocol):
    """A bridge of one or several processes."""

    @property
    def url(self) -> str: ...

    def log(self) -> str: ...


class SingleDemo:
    """Runs turns of ``user`` and shows them; voice answers are saved in ``folder``."""

    # The log files in the folder, as a shell pattern.
    log_name = "bridge.log"

    def __init__(
        self,
        *,
        sandbox: Sandbox,
        bridge: RunningBridge,
        screen: Screen,
        speech: Speech,
        codec: Codec,
        user: str,
        folder: Path,
    ) -> None:
        self._sandbox = sandbox
        self._bridge = bridge
        self._screen = screen
        self._speech = speech
        self._codec = codec
        self._user = user
        self._folder = folder
        # How many violations there were before the current turn.
        self._violations = 0
        self._voice_answers = 0
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("answer-*.ogg"):
            old.unlink()

    def run(self, recording: Path) -> bool:
        """Run the demo with a recording; returns whether all went well."""
        return self._run_turn(recording)

    def send_recording(self, recording: Path) -> None:
        """Run another turn with a recording of the user."""
        self._run_turn(recording)

    def show_message(self, message: Outbound) -> None:
        """Show a message that is not part of such a turn."""
        if message.to != self._user:
            self._screen.line(f"To {message.to}:")
        if message.error_code is not None:
            self._report_problem(
                f"A message was not delivered (Twilio error {message.error_code})."
            )
        elif message.audio is not None:
            self._save_audio(message.audio)
        if message.body:
            self._screen.labelled("Agent", message.body, "cyan")

    def show_next_steps(self) -> None:
        """Explain what a person can do while the demo runs."""
        screen, number = self._screen, self._user.removeprefix("whatsapp:").replace("+", "%2B")
        screen.line()
        screen.line(screen.coloured("The bridge keeps running; answers appear here.", "bold"))
        screen.line()
        screen.text("Type a line to send it as a WhatsApp text.")
        screen.text(
            "Type file PATH, or drop a file on this window, to send a voice note (English)."
        )
        screen.line()
        screen.text(
            "From another terminal, use a new MessageSid each time, because the bridge ignores "
            "repeated ones (%2B is a plus sign; in a form, + would be a space):"
        )
        self._show_command(
            f'curl -X POST {self._bridge.url}/ -d "MessageSid=test123"',
            f'  -d "From=whatsapp:{number}" -d "Body=How do I cancel an invoice?"',
        )
        screen.text(f"The bridge's log is {self._log_file()}, and these are its metrics:")
        self._show_command(f"curl {self._bridge.url}/metrics")
        screen.text(f"The same as a live dashboard: {self._bridge.url}/dashboard")
        screen.text(
            "To see a provider fail, make the agent's next answer an error; then ask again:"
        )
        self._show_command(
            f"curl {self._sandbox.control.url}/faults",
            """  -d '{"service": "agentforce", "call": "ask", "status": 500}'""",
        )
        screen.text("Ctrl-C or Ctrl-D stops.")
        screen.line()

    def _run_turn(self, recording: Path) -> bool:
        note = self._read_recording(recording)
        if note is None:
            return False
        exchange = self._start_exchange()
        with self._screen.step(f"Sending {display_path(recording)}"):
            turn = exchange.send(*note)
            exchange.finish(turn)
        return self._show_turn(turn, stages_of(turn))

    def _read_recording(self, recording: Path) -> tuple[bytes, str] | None:
        """The audio and its content type; reports a problem and returns None if it has none."""
        try:
            return self._load_audio(recording)
        except (OSError, Undecodable) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not audio"
            self._report_problem(f"{display_path(recording)} cannot be sent: {reason}.")
            return None

    def _load_audio(self, recording: Path) -> tuple[bytes, str]:
        """Read a file; formats that phones do not send are converted to a voice note."""
        audio = recording.read_bytes()
        content_type = CONTENT_TYPES.get(recording.suffix.lower())
        if content_type is None:
            return self._codec.note(self._codec.decode(audio)), NOTES["ogg"][0]
        return audio, content_type

    def _start_exchange(self) -> Exchange:
        self._violations = len(self._sandbox.recorder.violations)
        return Exchange(sandbox=self._sandbox, bridge_url=self._bridge.url, user=self._user)

    def _show_turn(self, turn: Turn, stages: Sequence[Stage]) -> bool:
        """Show a finished turn; returns whether all went well."""
        self._show_timeline(stages)
        self._show_summary(turn)
        succeeded = self._show_voice_answer(turn)
        for violation in self._sandbox.recorder.violations[self._violations :]:
            succeeded = self._report_problem(describe_violation(violation))
        return succeeded

    def _show_command(self, *lines: str) -> None:
        """Show a shell command that can be copied: lines are broken only as the shell allows."""
        self._screen.line()
        self._screen.line(" \\\n".join(f"  {line}" for line in lines))
        self._screen.line()

    def _show_timeline(self, stages: Sequence[Stage]) -> None:
        screen = self._screen
        screen.line()
        blocks = BLOCKS if screen.is_unicode else PLAIN_BLOCKS
        for line in draw_timeline(stages, screen.width, blocks=blocks):
            screen.line(line)
        screen.line()

    def _show_summary(self, turn: Turn) -> None:
        times = []
        if turn.texts:
            times.append(f"text answer after {format_seconds(turn.texts[-1].at - turn.sent)}")
        if turn.fetched:
            times.append(f"voice answer after {format_seconds(turn.fetched - turn.sent)}")
        if times:
            summary = f"{', '.join(times)}."
            self._screen.text(summary[0].upper() + summary[1:])
            self._screen.line()
        if turn.transcript:
            self._screen.labelled("You said", turn.transcript)
        if turn.hint:
            self._screen.text(turn.hint)
        if turn.answer:
            self._screen.labelled("Agent", turn.answer, "cyan")

    def _show_voice_answer(self, turn: Turn) -> bool:
        """Save and check the voice answer; returns whether it arrived and can be understood."""
        if turn.voice is None or turn.voice.audio is None:
            self._report_problem(turn.failure)
            self._show_log()
            return False
        self._save_audio(turn.voice.audio)
        return self._check_round_trip(turn.voice.audio, turn.synthesized_text)

    def _check_round_trip(self, audio: bytes, text: str) -> bool:
        if is_arabic(text):
            self._screen.text("Not transcribed, because the models here hear too little Arabic.")
            return True
        with self._screen.step("Transcribing the voice answer"):
            result = check_round_trip(audio, text, speech=self._speech, codec=self._codec)
        match = f"{result.match:.0%} match"
        self._screen.labelled("Transcript", f"{result.transcript}  ({match})")
        if result.passed:
            return True
        return self._report_problem(
            f"The voice answer differs from the text: {match}, less than {LEAST_MATCH:.0%}."
        )

    def _save_audio(self, audio: bytes) -> None:
        """Save a voice answer and show its path."""
        self._voice_answers += 1
        path = self._folder / f"answer-{self._voice_answers}.ogg"
        path.write_bytes(audio)
        try:
            length = f"{read_voice_note(audio).seconds:.1f} s, "
        except NotAVoiceNote:
            length = ""
        size = f"{max(round(len(audio) / 1000), 1)} KB"
        self._screen.labelled("Voice answer", f"{display_path(path)} ({length}{size})")

    def _report_problem(self, sentence: str) -> bool:
        """Show what is wrong; returns False, so that callers can return it as their result."""
        self._screen.text(sentence, "red")
        return False

    def _show_log(self) -> None:
        time.sleep(LOG_DELAY_SECONDS)
        self._screen.line()
        self._screen.line(f"The end of {self._log_file()}:")
        for line in self._bridge.log().splitlines()[-LOG_LINES:]:
            self._screen.line(f"  {line}")

    def _log_file(self) -> str:
        return display_path(self._folder) + f"/{self.log_name}"


def display_path(path: Path) -> str:
    """The path for a shell, relative to the project's folder if it is inside."""
    absolute = path.expanduser().resolve()
    short = absolute.relative_to(ROOT) if absolute.is_relative_to(ROOT) else absolute
    return shlex.quote(str(short))
