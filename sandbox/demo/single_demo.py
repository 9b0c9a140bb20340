"""What the demo tells about a turn, and about the ways to go on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sandbox import Sandbox
from sandbox.bridge import ROOT
from sandbox.demo.round_trip import ENOUGH, check_round_trip
from sandbox.demo.screen import Screen
from sandbox.demo.timeline import BLOCKS, PLAIN_BLOCKS, Stage, drawn, stages_of, told
from sandbox.demo.turn import Exchange, Turn
from sandbox.speech import Speech, is_arabic
from sandbox.speech.codec import NOTES, Codec, Undecodable
from sandbox.twilio.messages import Outbound
from sandbox.twilio.voice_note import NotAVoiceNote, read_voice_note

LOG_LINES = 20
LOG_SECONDS = 0.3
TYPES = {f".{kind}": content_type for kind, (content_type, _) in NOTES.items()} | {
    ".opus": "audio/ogg"
}


class Answering(Protocol):
    """A bridge, whether one process or many."""

    @property
    def url(self) -> str: ...

    def log(self) -> str: ...


class SingleDemo:
    """Takes turns and shows them; spoken answers are kept in ``folder``, numbered."""

    # The log in the folder, as a person would name it to a shell.
    log_name = "bridge.log"

    def __init__(
        self,
        *,
        sandbox: Sandbox,
        bridge: Answering,
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
        self._breaches = 0
        self._answers = 0
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("answer-*.ogg"):
            old.unlink()

    def tell(self, recording: Path) -> bool:
        """Send a recording and show what came of it; False when anything is amiss."""
        return self._tell_plainly(recording)

    def _tell_plainly(self, recording: Path) -> bool:
        note = self._read(recording)
        if note is None:
            return False
        exchange = self._exchange()
        with self._screen.step(f"Sending {shown(recording)}"):
            turn = exchange.send(*note)
            exchange.finish(turn)
        return self._show(turn, stages_of(turn))

    def _read(self, recording: Path) -> tuple[bytes, str] | None:
        """A recording as a phone would send it, and its media type; says so if it cannot be."""
        try:
            return self._sendable(recording)
        except (OSError, Undecodable) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not audio"
            self._complain(f"{shown(recording)} cannot be sent: {why}.")
            return None

    def _exchange(self) -> Exchange:
        """What the user's next voice note goes through; ``_show`` ends it."""
        self._breaches = len(self._sandbox.recorder.violations)
        return Exchange(sandbox=self._sandbox, bridge_url=self._bridge.url, user=self._user)

    def _show(self, turn: Turn, stages: Sequence[Stage]) -> bool:
        """Show a turn that ended; False when anything is amiss."""
        self._draw(turn, stages)
        complete = self._judge(turn)
        for breach in self._sandbox.recorder.violations[self._breaches :]:
            complete = self._complain(
                f"Against the contract of {breach.service} {breach.call}: {breach.rule}"
            )
        return complete

    def tell_of_own(self, recording: Path) -> None:
        """The same for a recording of the user's own."""
        self._tell_plainly(recording)

    def show_message(self, message: Outbound) -> None:
        """A message outside the turns that ``tell`` takes."""
        if message.to != self._user:
            self._screen.line(f"To {message.to}:")
        if message.error_code is not None:
            self._complain(f"A message was not delivered (Twilio error {message.error_code}).")
        elif message.audio is not None:
            self._keep(message.audio)
        if message.body:
            self._screen.labelled("Agent", message.body, "cyan")

    def say_how_to_go_on(self) -> None:
        screen, number = self._screen, self._user.removeprefix("whatsapp:").replace("+", "%2B")
        screen.line()
        screen.line(screen.coloured("It stays up. Go on as you like; answers appear here.", "bold"))
        screen.line()
        screen.text("Type a line: it is sent as a WhatsApp text.")
        screen.text("file PATH, or a file dropped on this window: sent as a voice note (English).")
        screen.line()
        screen.text(
            "From another terminal, with a new MessageSid each time, for one that was seen before "
            "is ignored (%2B is the plus sign, which a form would take for a space):"
        )
        self._command(
            f'curl -X POST {self._bridge.url}/ -d "MessageSid=test123"',
            f'  -d "From=whatsapp:{number}" -d "Body=How do I cancel an invoice?"',
        )
        screen.text(f"What the bridge measured; its log is {self._log_file()}:")
        self._command(f"curl {self._bridge.url}/metrics")
        screen.text(f"The same for people, live: {self._bridge.url}/dashboard")
        screen.text(
            "To see a provider fail, let the agent's next answer be an error; then ask again:"
        )
        self._command(
            f"curl {self._sandbox.control.url}/faults",
            """  -d '{"service": "agentforce", "call": "ask", "status": 500}'""",
        )
        screen.text("Ctrl-C or Ctrl-D stops.")
        screen.line()

    def _command(self, *lines: str) -> None:
        """Ready to be copied, so never wrapped but where the shell allows it."""
        self._screen.line()
        self._screen.line(" \\\n".join(f"  {line}" for line in lines))
        self._screen.line()

    def _draw(self, turn: Turn, stages: Sequence[Stage]) -> None:
        screen = self._screen
        screen.line()
        blocks = BLOCKS if screen.is_unicode else PLAIN_BLOCKS
        for line in drawn(stages, screen.width, blocks=blocks):
            screen.line(line)
        screen.line()
        self._summarise(turn)
        if turn.heard:
            screen.labelled("You said", turn.heard)
        if turn.answer:
            screen.labelled("Agent", turn.answer, "cyan")

    def _summarise(self, turn: Turn) -> None:
        times = []
        if turn.texts:
            times.append(f"text answer after {told(turn.texts[-1].at - turn.sent)}")
        if turn.fetched:
            times.append(f"voice answer after {told(turn.fetched - turn.sent)}")
        if times:
            summary = f"{', '.join(times)}."
            self._screen.text(summary[0].upper() + summary[1:])
            self._screen.line()

    def _judge(self, turn: Turn) -> bool:
        """Whether the voice answer came and can be understood."""
        if turn.voice is None or turn.voice.audio is None:
            complete = self._complain(turn.failure)
            self._show_log()
            return complete
        self._keep(turn.voice.audio)
        return self._listen(turn.voice.audio, turn.spoken)

    def _listen(self, audio: bytes, spoken: str) -> bool:
        if is_arabic(spoken):
            self._screen.text("Not heard again: the models here know English only.")
            return True
        with self._screen.step("Listening to it"):
            again = check_round_trip(audio, spoken, speech=self._speech, codec=self._codec)
        percent = f"match {again.match:.0%}"
        self._screen.labelled("Transcript again as", f"{again.text}  {percent}")
        if again.understood:
            return True
        return self._complain(
            f"The voice answer does not say what it should: {percent}, less than {ENOUGH:.0%}."
        )

    def _keep(self, audio: bytes) -> None:
        """Save a spoken answer and say where."""
        self._answers += 1
        path = self._folder / f"answer-{self._answers}.ogg"
        path.write_bytes(audio)
        try:
            length = f"{read_voice_note(audio).seconds:.1f} s, "
        except NotAVoiceNote:
            length = ""
        size = f"{max(round(len(audio) / 1000), 1)} KB"
        self._screen.labelled("Voice answer", f"{shown(path)} ({length}{size})")

    def _sendable(self, recording: Path) -> tuple[bytes, str]:
        """What no phone would send becomes a voice note first."""
        audio = recording.read_bytes()
        content_type = TYPES.get(recording.suffix.lower())
        if content_type is None:
            return self._codec.note(self._codec.decode(audio)), NOTES["ogg"][0]
        return audio, content_type

    def _complain(self, sentence: str) -> bool:
        """Say what is amiss; False, as the judgement it leads to."""
        self._screen.text(sentence, "red")
        return False

    def _show_log(self) -> None:
        # The bridge counts a failure before it tells its log.
        time.sleep(LOG_SECONDS)
        self._screen.line()
        self._screen.line(f"The end of {self._log_file()}:")
        for line in self._bridge.log().splitlines()[-LOG_LINES:]:
            self._screen.line(f"  {line}")

    def _log_file(self) -> str:
        return shown(self._folder) + f"/{self.log_name}"


def shown(path: Path) -> str:
    """As short as it can be typed in the project's folder."""
    absolute = path.expanduser().resolve()
    short = absolute.relative_to(ROOT) if absolute.is_relative_to(ROOT) else absolute
    return shlex.quote(str(short))
