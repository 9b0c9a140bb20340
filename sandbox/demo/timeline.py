"""The timeline of a turn: its stages as a table with bars."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sandbox.call_recorder import Call
from sandbox.demo.turn import Turn

# Widths in columns of the stage's name and of each of its two times. The bar gets the rest, if that
# is wide enough.
NAME_WIDTH, TIME_WIDTH = 22, 9
MIN_BAR_WIDTH = 12
TRANSCRIPTION = "Transcription"
# The parts of a long text follow each other faster.
NEXT_PART_SECONDS = 0.3
# Characters that fill a column from empty to full.
BLOCKS = " ▏▎▍▌▋▊▉█"
PLAIN_BLOCKS = " #"


@dataclass(frozen=True)
class Stage:
    """A part of a turn; ``start`` is in seconds after the webhook was posted.

    ``ended`` is False while it may still go on, in a turn that still runs. ``calls`` are the starts
    and the ends of its calls; there may be pauses between them, such as before a repeated call.
    """

    name: str
    start: float
    seconds: float
    ended: bool = True
    calls: tuple[tuple[float, float], ...] = ()


def stages_of(turn: Turn) -> list[Stage]:
    """The stages of a turn until now, in order of their start."""
    spans = [
        Span("Webhook acknowledged", turn.sent, turn.acknowledged, True),
        *filter(None, _call_spans(turn)),
        *filter(None, [_text_span(turn), _speech_span(turn)]),
    ]
    stages = [
        Stage(
            span.name,
            span.start - turn.sent,
            max(span.end - span.start, 0.0),
            span.ended or turn.ended,
            tuple((start - turn.sent, end - turn.sent) for start, end in span.calls),
        )
        for span in spans
    ]
    return sorted(stages, key=lambda stage: stage.start)


class Span(NamedTuple):
    """The start and end of a stage and of its calls, in monotonic seconds."""

    name: str
    start: float
    end: float
    ended: bool
    calls: tuple[tuple[float, float], ...] = ()


def _call_spans(turn: Turn) -> list[Span | None]:
    """The stages that are single calls or between calls; None if one did not happen."""
    download = _span("Download", turn.calls, "media", "media_cdn", last="media_cdn")
    transcription = _span(TRANSCRIPTION, turn.calls, "transcribe")
    conversion = fetch = None
    agent = _span("Agent", turn.calls, "ask")
    if agent:
        # An event stream is recorded as ended when it begins; the text is sent after it.
        agent = agent._replace(ended=agent.ended and bool(turn.texts))
    if download and transcription:
        conversion = Span("Convert", download.end, transcription.start, True)
    if turn.voice and turn.fetched:
        fetch = Span("Voice note fetched", turn.voice.at, turn.fetched, True)
    return [
        _span("Typing shown", turn.calls, "typing"),
        _span("Agentforce session", turn.calls, "token", "session", last="session"),
        download,
        conversion,
        transcription,
        agent,
        fetch,
    ]


def _span(name: str, calls: Iterable[Call], *names: str, last: str = "") -> Span | None:
    """From the start of the first to the end of the last call with one of ``names``.

    It has ended when none of them runs, and one of them is a call of the name ``last``.
    """
    matching = [call for call in calls if call.name in names]
    if not matching:
        return None
    ended = all(call.ended for call in matching) and (
        not last or any(call.name == last for call in matching)
    )
    times = tuple((call.at, call.ended or call.at) for call in matching)
    return Span(name, matching[0].at, max(end for _, end in times), ended, times)


def _text_span(turn: Turn) -> Span | None:
    """The sends of the text, without that of the voice note, which starts after the text's."""
    if not turn.texts:
        return None
    parts = len(turn.texts)
    name = "Text sent" if parts == 1 else f"Text sent, {parts} parts"
    accepted = turn.texts[-1].at
    span = _span(name, [call for call in turn.calls if call.at <= accepted], "send")
    is_complete = turn.voice is not None or time.monotonic() > accepted + NEXT_PART_SECONDS
    return span and span._replace(ended=span.ended and is_complete)


def _speech_span(turn: Turn) -> Span | None:
    """The calls that synthesize the answer; the last of them comes before the voice note."""
    syntheses = sum(call.name == "speak" for call in turn.calls)
    name = "Speech" if syntheses < 2 else f"Speech, {syntheses} calls"
    span = _span(name, turn.calls, "speak")
    return span and span._replace(ended=turn.voice is not None)


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
