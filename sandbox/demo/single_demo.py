"""The demo with a single process: runs turns and shows them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from sandbox import Sandbox
from sandbox.bridge import RunningBridge
from sandbox.call_recorder import Violation
from sandbox.demo.bridge_notes import notes_on
from sandbox.demo.progress import Progress
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
from sandbox.demo.voice_answers import VoiceAnswers
from sandbox.demo.voice_notes import VoiceNote, display_path
from sandbox.twilio.messages import Outbound

LOG_LINES = 20
# The bridge counts a failure before it logs it.
LOG_DELAY_SECONDS = 0.3


class SingleDemo:
    """Runs turns of ``user`` and shows them; the bridge's logs are in ``folder``."""

    # The log files in the folder, as a shell pattern.
    log_name = "bridge.log"

    def __init__(
        self,
        *,
        sandbox: Sandbox,
        bridge: RunningBridge,
        screen: Screen,
        voice_answers: VoiceAnswers,
        user: str,
        folder: Path,
    ) -> None:
        self._sandbox = sandbox
        self._bridge = bridge
        self._screen = screen
        self._voice_answers = voice_answers
        self._user = user
        self._folder = folder
        # The SIDs of the messages that were shown, and how many violations.
        # The agent's session in which the user asked last.
        self._asked_in = ""
        self._shown: set[str] = set()
        self._violations = 0

    @property
    def log_file(self) -> str:
        """The path of the bridge's log, or a pattern for several."""
        return f"{display_path(self._folder)}/{self.log_name}"

    @property
    def bridge_url(self) -> str:
        return self._bridge.url

    def run(self, note: VoiceNote) -> bool:
        """Run the demo with a voice note; returns whether all went well."""
        self._screen.line()
        return self.send_voice_note(note)

    def send_voice_note(self, note: VoiceNote) -> bool:
        """Run a turn with a voice note of the user; returns whether all went well."""
        self._screen.labelled("You send", note.name)
        exchange = self._start_exchange()
        turn = exchange.speak(note.audio, note.content_type)
        exchange.finish(turn, on_poll=Progress(screen=self._screen))
        return self._show_end(turn, stages_of(turn))

    def send_text(self, text: str) -> bool:
        """Run a turn with a text of the user; returns whether all went well."""
        exchange = self._start_exchange()
        turn = exchange.say(text)
        exchange.finish(turn, on_poll=Progress(screen=self._screen))
        return self._show_end(turn, [])

    def show_next_steps(self) -> None:
        """Explain what else can be tried with this bridge."""

    def show_new(self) -> None:
        """Show what happened outside of turns: messages in order, and violations.

        A recording that is being fetched delays the messages after it.
        """
        for message in self._sandbox.twilio.messages():
            if message.sid not in self._shown:
                if not _is_final(message):
                    break
                self._shown.add(message.sid)
                self._show_message(message)
        self._show_violations()

    def _show_message(self, message: Outbound) -> None:
        if message.to != self._user:
            self._screen.line(f"To {message.to}:")
        if message.error_code is not None:
            self._report_problem(
                f"A message was not delivered (Twilio error {message.error_code})."
            )
        elif message.audio is not None:
            self._voice_answers.save(message)
        if message.body:
            self._screen.labelled("Agent", message.body, "cyan")

    def _start_exchange(self) -> Exchange:
        self.show_new()
        return Exchange(
            sandbox=self._sandbox,
            bridge_url=self._bridge.url,
            user=self._user,
            asked_before_in=self._asked_in,
        )

    def _show_end(self, turn: Turn, stages: Sequence[Stage]) -> bool:
        """Show the results of a turn that has ended; returns whether all went well."""
        succeeded = not turn.failure
        self._asked_in = turn.asked_in or self._asked_in
        self._shown.update(text.sid for text in turn.texts)
        if turn.voice:
            self._shown.add(turn.voice.sid)
            self._voice_answers.save(turn.voice)
        if stages:
            self._show_timeline(stages)
        self._show_times(turn)
        for sentence in notes_on(turn):
            self._screen.item(sentence)
        if turn.failure:
            self._report_problem(turn.failure)
            self._show_log()
        if problem := self._voice_answers.check(turn):
            succeeded = self._report_problem(problem)
        succeeded = self._show_violations() and succeeded
        self._screen.line()
        return succeeded

    def _show_times(self, turn: Turn) -> None:
        times = []
        if turn.texts:
            times.append(f"text answer after {format_seconds(turn.texts[-1].at - turn.sent)}")
        if turn.fetched:
            times.append(f"voice answer after {format_seconds(turn.fetched - turn.sent)}")
        if times:
            summary = f"{', '.join(times)}."
            self._screen.item(summary[0].upper() + summary[1:])

    def _show_timeline(self, stages: Sequence[Stage]) -> None:
        screen = self._screen
        screen.line()
        blocks = BLOCKS if screen.is_unicode else PLAIN_BLOCKS
        screen.line("\n".join(draw_timeline(stages, screen.width, blocks=blocks)))
        screen.line()

    def _show_violations(self) -> bool:
        """Show new violations; returns whether there are none."""
        new = self._sandbox.recorder.violations[self._violations :]
        self._violations += len(new)
        for violation in new:
            self._report_problem(_describe(violation))
        return not new

    def _report_problem(self, sentence: str) -> bool:
        """Show what is wrong; returns False, so that callers can return it as their result."""
        self._screen.text(sentence, "red")
        return False

    def _show_log(self) -> None:
        time.sleep(LOG_DELAY_SECONDS)
        self._screen.line()
        self._screen.line(f"The end of {self.log_file}:")
        for line in self._bridge.log().splitlines()[-LOG_LINES:]:
            self._screen.line(f"  {line}")


def _is_final(message: Outbound) -> bool:
    """Whether the message is complete: a text, a fetched recording, or a failure."""
    return message.error_code is not None or message.media_url is None or message.audio is not None


def _describe(violation: Violation) -> str:
    return f"Violation in {violation.service} {violation.call}: {violation.rule}"
