"""The timeline of a turn: its stages as a table with bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sandbox.call_recorder import Call
from sandbox.demo.turn import Turn

# Widths in columns of the stage's name and of each of its two times. The bar gets the rest, if that
# is wide enough.
NAME_WIDTH, TIME_WIDTH = 22, 9
MIN_BAR_WIDTH = 12
# Characters that fill a column from empty to full.
BLOCKS = " ▏▎▍▌▋▊▉█"
PLAIN_BLOCKS = " #"


@dataclass(frozen=True)
class Stage:
    """A part of a turn; ``start`` is in seconds after the webhook was posted."""

    name: str
    start: float
    seconds: float


def stages_of(turn: Turn) -> list[Stage]:
    """The stages of a turn, in order of their start."""
    spans = [("Webhook acknowledged", (turn.sent, turn.acknowledged)), *_call_spans(turn)]
    stages = [
        Stage(name, span[0] - turn.sent, max(span[1] - span[0], 0.0))
        for name, span in spans
        if span
    ]
    return sorted(stages, key=lambda stage: stage.start)


def _call_spans(turn: Turn) -> list[tuple[str, tuple[float, float] | None]]:
    """The start and end of each stage; None if it did not happen."""
    download = _span(turn.calls, "media", "media_cdn")
    transcription = _span(turn.calls, "transcribe")
    conversion = (download[1], transcription[0]) if download and transcription else None
    syntheses = sum(call.name == "speak" for call in turn.calls)
    speech = "Speech" if syntheses < 2 else f"Speech, {syntheses} calls"
    fetch = (turn.voice.at, turn.fetched) if turn.voice and turn.fetched else None
    return [
        ("Typing shown", _span(turn.calls, "typing")),
        ("Agentforce session", _span(turn.calls, "token", "session")),
        ("Download", download),
        ("Convert", conversion),
        ("Transcription", transcription),
        ("Agent", _span(turn.calls, "ask")),
        ("Text sent", _text_span(turn)),
        (speech, _span(turn.calls, "speak")),
        ("Voice note fetched", fetch),
    ]


def _span(calls: Iterable[Call], *names: str) -> tuple[float, float] | None:
    """From the start of the first to the end of the last call with one of these names."""
    matching = [call for call in calls if call.name in names]
    if not matching:
        return None
    return matching[0].at, max(call.ended or call.at for call in matching)


def _text_span(turn: Turn) -> tuple[float, float] | None:
    """The sends of the text, without that of the voice note, which starts after the text's."""
    if not turn.texts:
        return None
    accepted = turn.texts[-1].at
    return _span([call for call in turn.calls if call.at <= accepted], "send")


def draw_timeline(stages: Sequence[Stage], width: int, *, blocks: str = BLOCKS) -> list[str]:
    """One line for each stage in at most ``width`` columns.

    A narrow terminal gets no bars, a very narrow one no start times. ``blocks`` are characters that
    fill a column from empty to full.
    """
    if width < NAME_WIDTH + 2 * TIME_WIDTH:
        return [
            f"{_name(stage)}{format_seconds(stage.seconds):>{width - NAME_WIDTH}}"
            for stage in stages
        ]
    bar_width = width - NAME_WIDTH - 2 * TIME_WIDTH - 2
    end = max((stage.start + stage.seconds for stage in stages), default=0.0) or 1.0
    lines = [f"{'':<{NAME_WIDTH}}{'from':>{TIME_WIDTH}}{'took':>{TIME_WIDTH}}"]
    for stage in stages:
        start = f"{format_seconds(stage.start):>{TIME_WIDTH}}"
        duration = f"{format_seconds(stage.seconds):>{TIME_WIDTH}}"
        bar = _bar(stage, bar_width / end, blocks) if bar_width >= MIN_BAR_WIDTH else ""
        lines.append(f"{_name(stage)}{start}{duration}  {bar}".rstrip())
    return lines


def _name(stage: Stage) -> str:
    return f"{stage.name:<{NAME_WIDTH}.{NAME_WIDTH}}"


def _bar(stage: Stage, columns_per_second: float, blocks: str) -> str:
    """Its start is rounded down to a whole column, its end to a fraction of a column."""
    steps = len(blocks) - 1
    indent = int(stage.start * columns_per_second)
    end = round((stage.start + stage.seconds) * columns_per_second * steps)
    full, partial = divmod(max(end - indent * steps, 1), steps)
    return " " * indent + blocks[-1] * full + (blocks[partial] if partial else "")


def format_seconds(seconds: float) -> str:
    """``4 ms`` or ``1.73 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.2f} s"
