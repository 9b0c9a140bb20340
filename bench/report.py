"""The findings as a table for a terminal, and for docs/performance.md."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.findings import Bot, Findings

# The project's own marks (docs/performance.md); of bursts by their size.
TEXT_RATIO = 1.03
NOTE_SECONDS = 0.6
BURST_RATIOS = {50: 1.3, 200: 2.6}
# In milliseconds, by webhooks a second and percentile; 80 are twice what one process serves.
ACKNOWLEDGED = {(40, 50): 10.0, (40, 99): 150.0, (80, 99): 350.0}
# As many as a minute brings; of a few hundred the worst would be the percentile.
ACKNOWLEDGED_SECONDS = 60
CPU_MILLISECONDS = 70
# With that many turns in flight.
MEMORY_MEGABYTES = 400
MEMORY_TURNS = 200
# CPU is counted where a burst is long enough to be told from noise.
CPU_TURNS = 50

COLUMNS = ("bridge", "sequential", "limit", "mark", "met")
_WIDTHS = (7, 10, 5, 6, 3)
_LABEL_WIDTH = 39


@dataclass(frozen=True)
class Row:
    """A figure of each; ``mark`` is the most that the bridge's may be."""

    label: str
    bridge: float
    sequential: float | None = None
    limit: float | None = None
    mark: float | None = None
    digits: int = 2

    def cells(self) -> list[str]:
        met = "" if self.mark is None else "yes" if self.bridge <= self.mark else "no"
        mark = "" if self.mark is None else f"≤ {self.mark:g}" if self.mark else "0"
        figures = (self.bridge, self.sequential, self.limit)
        return [*(_shown(figure, self.digits) for figure in figures), mark, met]


@dataclass(frozen=True)
class Section:
    """Rows of one unit, which ``title`` names."""

    title: str
    rows: Sequence[Row]


def sections(found: Findings) -> list[Section]:
    """Ratios first: they are what another machine would show as well."""
    return [
        Section("Ratios", list(_ratios(found))),
        Section("Seconds", list(_seconds(found))),
        Section("Webhooks acknowledged, ms", list(_acknowledgements(found))),
        Section("What it takes", list(_costs(found))),
    ]


def printed(found: Findings) -> str:
    """In 80 columns."""
    lines: list[str] = []
    for section in sections(found):
        lines += ["", _line(section.title, COLUMNS)] if lines else [_line(section.title, COLUMNS)]
        lines += [_line(f"  {row.label}", row.cells()) for row in section.rows]
    return "\n".join(lines)


def markdown(found: Findings) -> str:
    """The same as tables."""
    tables = []
    for section in sections(found):
        lines = [[section.title, *COLUMNS], ["---", *["--:"] * 4, "---"]]
        lines += [[row.label, *row.cells()] for row in section.rows]
        tables.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return "\n\n".join(tables)


def _line(label: str, cells: Sequence[str]) -> str:
    sized = (cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
    return "  ".join([label.ljust(_LABEL_WIDTH), *sized]).rstrip()


def _shown(figure: float | None, digits: int) -> str:
    if figure is None:
        return ""
    return f"{figure:,.{digits}f}" if math.isfinite(figure) else "never"


def _ratios(found: Findings) -> Iterator[Row]:
    bridge, other, limit = found.bridge, found.sequential, found.limit
    yield _to_limit(
        "voice turn: text ÷ limit",
        bridge.voice_text,
        other.voice_text,
        limit.voice_turn,
        TEXT_RATIO,
    )
    yield _to_limit(
        "voice note after the text ÷ limit",
        bridge.note_after_text,
        other.note_after_text,
        limit.note_after_text,
    )
    yield _to_limit(
        "text turn: text ÷ limit", bridge.text_text, other.text_text, limit.text_turn, TEXT_RATIO
    )
    for size in bridge.bursts:
        yield Row(
            f"{size} at once: worst text ÷ one turn's",
            bridge.texts(size)[1] / bridge.voice_text,
            other.texts(size)[1] / other.voice_text if size in other.bursts else None,
            mark=BURST_RATIOS.get(size),
        )


def _to_limit(
    label: str, bridge: float, other: float, limit: float, mark: float | None = None
) -> Row:
    return Row(label, bridge / limit, other / limit, 1.0, mark)


def _seconds(found: Findings) -> Iterator[Row]:
    bridge, other, limit = found.bridge, found.sequential, found.limit
    yield Row("voice turn: text", bridge.voice_text, other.voice_text, limit.voice_turn)
    yield Row(
        "voice note after the text",
        bridge.note_after_text,
        other.note_after_text,
        limit.note_after_text,
        NOTE_SECONDS,
    )
    yield Row("text turn: text", bridge.text_text, other.text_text, limit.text_turn)
    for size in bridge.bursts:
        compared = size in other.bursts
        for what, of in (("text", Bot.texts), ("voice note", Bot.notes)):
            worst = of(other, size)[1] if compared else None
            yield Row(f"{size} at once: worst {what}", of(bridge, size)[1], worst)


def _acknowledgements(found: Findings) -> Iterator[Row]:
    for rate, answers in found.acknowledgements.items():
        judged = len(answers.seconds) >= ACKNOWLEDGED_SECONDS * rate
        for percent in (50, 99):
            mark = ACKNOWLEDGED.get((rate, percent)) if judged else None
            milliseconds = answers.percentile(percent) * 1000
            yield Row(f"{rate}/s: p{percent}", milliseconds, mark=mark, digits=1)
    yield Row("most a second with p99 ≤ 150 ms", found.held, digits=0)


def _costs(found: Findings) -> Iterator[Row]:
    bridge, other = found.bridge, found.sequential
    size = min(bridge.bursts, key=lambda size: abs(size - CPU_TURNS))
    largest = max(bridge.bursts)
    compared = largest in other.bursts
    most, rest = bridge.memory(largest)
    other_most, other_rest = other.memory(largest) if compared else (None, None)
    yield Row(
        f"CPU a voice turn, {size} at once, ms",
        bridge.cpu(size),
        other.cpu(size) if size in other.bursts else None,
        mark=CPU_MILLISECONDS,
        digits=0,
    )
    mark = MEMORY_MEGABYTES if largest >= MEMORY_TURNS else None
    yield Row(f"memory, {largest} at once, MB", most, other_most, mark=mark, digits=0)
    yield Row("memory afterwards, MB", rest, other_rest, digits=0)
    yield Row("turns lost, or not answered once", bridge.wrong, other.wrong, mark=0, digits=0)
