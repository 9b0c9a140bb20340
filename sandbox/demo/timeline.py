"""What happened when in a turn, as a table with bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sandbox.call_recorder import Call
from sandbox.demo.turn import Turn

# Columns: the name, then two times; the bar gets what is left, if it is enough to show anything.
NAME, TIME = 22, 9
SHORTEST_BAR = 12
BLOCKS = " ▏▎▍▌▋▊▉█"
PLAIN_BLOCKS = " #"


@dataclass(frozen=True)
class Stage:
    """A part of a turn; ``start`` is seconds after the message was posted to the webhook."""

    name: str
    start: float
    seconds: float


def stages_of(turn: Turn) -> list[Stage]:
    """The stages that a turn went through, in order of their start."""
    spans = [("Webhook acknowledged", (turn.sent, turn.acknowledged)), *_calls(turn)]
    found = [
        Stage(name, span[0] - turn.sent, max(span[1] - span[0], 0.0))
        for name, span in spans
        if span
    ]
    return sorted(found, key=lambda stage: stage.start)


def _calls(turn: Turn) -> list[tuple[str, tuple[float, float] | None]]:
    download = _span(turn.calls, "media", "media_cdn")
    transcription = _span(turn.calls, "transcribe")
    converting = (download[1], transcription[0]) if download and transcription else None
    spoken = sum(call.name == "speak" for call in turn.calls)
    speech = "Speech" if spoken < 2 else f"Speech, {spoken} calls"
    fetching = (turn.voice.at, turn.fetched) if turn.voice and turn.fetched else None
    return [
        ("Typing shown", _span(turn.calls, "typing")),
        ("Agentforce session", _span(turn.calls, "token", "session")),
        ("Download", download),
        ("Convert", converting),
        ("Transcription", transcription),
        ("Agent", _span(turn.calls, "ask")),
        ("Text sent", _sending(turn)),
        (speech, _span(turn.calls, "speak")),
        ("Voice note fetched", fetching),
    ]


def _span(calls: Iterable[Call], *names: str) -> tuple[float, float] | None:
    """From the first of the calls named so to the end of the last."""
    found = [call for call in calls if call.name in names]
    if not found:
        return None
    return found[0].at, max(call.ended or call.at for call in found)


def _sending(turn: Turn) -> tuple[float, float] | None:
    """The sends that brought the text; the voice note's begins later than the text is accepted."""
    if not turn.texts:
        return None
    accepted = turn.texts[-1].at
    return _span([call for call in turn.calls if call.at <= accepted], "send")


def drawn(stages: Sequence[Stage], width: int, *, blocks: str = BLOCKS) -> list[str]:
    """One line a stage in at most ``width`` columns.

    A narrow terminal gets no bars, a very narrow one no start times. ``blocks`` are the signs that
    fill a column from not at all to wholly.
    """
    if width < NAME + 2 * TIME:
        return [
            f"{stage.name:<{NAME}.{NAME}}{told(stage.seconds):>{width - NAME}}" for stage in stages
        ]
    room = width - NAME - 2 * TIME - 2
    end = max((stage.start + stage.seconds for stage in stages), default=0.0) or 1.0
    lines = [f"{'':<{NAME}}{'from':>{TIME}}{'took':>{TIME}}"]
    for stage in stages:
        times = f"{told(stage.start):>{TIME}}{told(stage.seconds):>{TIME}}"
        bar = _bar(stage, room / end, blocks) if room >= SHORTEST_BAR else ""
        lines.append(f"{stage.name:<{NAME}.{NAME}}{times}  {bar}".rstrip())
    return lines


def _bar(stage: Stage, columns_a_second: float, blocks: str) -> str:
    """Its left end is exact to a column, its length to a part of one."""
    steps = len(blocks) - 1
    before = int(stage.start * columns_a_second)
    parts = round((stage.start + stage.seconds) * columns_a_second * steps) - before * steps
    whole, rest = divmod(max(parts, 1), steps)
    return " " * before + blocks[-1] * whole + (blocks[rest] if rest else "")


def told(seconds: float) -> str:
    """``4 ms`` or ``1.73 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.2f} s"
