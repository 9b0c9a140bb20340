"""Shows a turn while it runs: each stage when it ends, and what was said when it is known."""

from __future__ import annotations

import time

from sandbox.demo.screen import Screen
from sandbox.demo.timeline import (
    NAME_WIDTH,
    TIME_WIDTH,
    TRANSCRIPTION,
    Stage,
    format_seconds,
    stages_of,
)
from sandbox.demo.turn import Turn


class Progress:
    """Call it again and again with a turn that runs, and once after it has ended."""

    def __init__(self, *, screen: Screen) -> None:
        self._screen = screen
        # What was shown: the names of stages, whether the transcript, and how many texts.
        self._stages: set[str] = set()
        self._transcript = False
        self._texts = 0

    def __call__(self, turn: Turn) -> None:
        stages = stages_of(turn)
        for stage in sorted(stages, key=lambda stage: stage.start + stage.seconds):
            if stage.ended and stage.name not in self._stages:
                self._stages.add(stage.name)
                self._show_stage(stage)
            self._show_transcript(turn, stage)
        self._show_texts(turn)
        if not turn.ended:
            self._show_status(turn, stages)

    def _show_stage(self, stage: Stage) -> None:
        seconds = f"{format_seconds(stage.seconds):>{TIME_WIDTH}}"
        self._screen.line(self._screen.coloured(f"{stage.name:<{NAME_WIDTH}}{seconds}", "dim"))

    def _show_transcript(self, turn: Turn, stage: Stage) -> None:
        if stage.name == TRANSCRIPTION and turn.transcript and not self._transcript:
            self._transcript = True
            self._screen.labelled("You said", turn.transcript)
            if turn.hint:
                self._screen.text(turn.hint)

    def _show_texts(self, turn: Turn) -> None:
        for text in turn.texts[self._texts :]:
            self._texts += 1
            # Such as an apology, or the answer to a command.
            author = "Agent" if turn.asked_in else "Bridge"
            self._screen.labelled(author, text.body, "cyan")

    def _show_status(self, turn: Turn, stages: list[Stage]) -> None:
        running = [stage.name.partition(",")[0] for stage in stages if not stage.ended]
        seconds = time.monotonic() - turn.sent
        name = running[-1] if running else "Waiting"
        self._screen.show_status(f"{name}, {seconds:.0f} s")
