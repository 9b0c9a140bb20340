"""The results as tables: plain text for a terminal, and Markdown for docs/performance.md."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.results import BotResults, Results

# The project's own targets (docs/performance.md). Ratios of bursts are by the size of the burst.
MAX_TEXT_RATIO = 1.03
MAX_NOTE_SECONDS = 0.6
MAX_BURST_RATIOS = {50: 1.3, 200: 2.6}
# By webhooks per second and percentile. 80 per second are twice what one process serves.
MAX_ACKNOWLEDGEMENT_MS = {(40, 50): 10.0, (40, 99): 150.0, (80, 99): 350.0}
# Shorter measurements are not compared with a target: their p99 is hardly more than their maximum.
MIN_ACKNOWLEDGEMENT_SECONDS = 60
MAX_CPU_MS = 70
# The memory target is for this many turns at once.
MAX_MEMORY_MB = 400
MEMORY_TURNS = 200
# CPU is taken from the burst nearest to this size, which is long enough to be measured.
CPU_TURNS = 50

COLUMNS = ("bridge", "sequential", "limit", "mark", "met")
_WIDTHS = (7, 10, 5, 6, 3)
_LABEL_WIDTH = 39


@dataclass(frozen=True)
class Row:
    """One measurement; ``target`` is the highest value that the bridge may have."""

    label: str
    bridge: float
    sequential: float | None = None
    limit: float | None = None
    target: float | None = None
    digits: int = 2

    def cells(self) -> list[str]:
        """The texts of all ``COLUMNS``."""
        met = "" if self.target is None else "yes" if self.bridge <= self.target else "no"
        target = "" if self.target is None else f"≤ {self.target:g}" if self.target else "0"
        values = (self.bridge, self.sequential, self.limit)
        return [*(_format(value, self.digits) for value in values), target, met]


@dataclass(frozen=True)
class Section:
    """Rows with the same unit, which is part of the ``title``."""

    title: str
    rows: Sequence[Row]


def sections(results: Results) -> list[Section]:
    """All sections; ratios come first, because they depend least on the machine."""
    return [
        Section("Ratios", list(_ratios(results))),
        Section("Seconds", list(_seconds(results))),
        Section("Webhooks acknowledged, ms", list(_acknowledgements(results))),
        Section("What it takes", list(_costs(results))),
    ]


def as_text(results: Results) -> str:
    """A table of at most 80 columns."""
    lines: list[str] = []
    for section in sections(results):
        lines += ["", _line(section.title, COLUMNS)] if lines else [_line(section.title, COLUMNS)]
        lines += [_line(f"  {row.label}", row.cells()) for row in section.rows]
    return "\n".join(lines)


def as_markdown(results: Results) -> str:
    """One Markdown table for each section."""
    tables = []
    for section in sections(results):
        lines = [[section.title, *COLUMNS], ["---", *["--:"] * 4, "---"]]
        lines += [[row.label, *row.cells()] for row in section.rows]
        tables.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return "\n\n".join(tables)


def _line(label: str, cells: Sequence[str]) -> str:
    padded = (cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
    return "  ".join([label.ljust(_LABEL_WIDTH), *padded]).rstrip()


def _format(value: float | None, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "never"


def _ratios(results: Results) -> Iterator[Row]:
    bridge, other, limit = results.bridge, results.sequential, results.critical_path
    yield _ratio_to_limit(
        "voice turn: text ÷ limit",
        bridge.voice_text,
        other.voice_text,
        limit.voice_turn,
        MAX_TEXT_RATIO,
    )
    yield _ratio_to_limit(
        "voice note after the text ÷ limit",
        bridge.note_after_text,
        other.note_after_text,
        limit.note_after_text,
    )
    yield _ratio_to_limit(
        "text turn: text ÷ limit",
        bridge.text_text,
        other.text_text,
        limit.text_turn,
        MAX_TEXT_RATIO,
    )
    for size in bridge.bursts:
        yield Row(
            f"{size} at once: worst text ÷ one turn's",
            bridge.texts(size)[1] / bridge.voice_text,
            other.texts(size)[1] / other.voice_text if size in other.bursts else None,
            target=MAX_BURST_RATIOS.get(size),
        )


def _ratio_to_limit(
    label: str, bridge: float, other: float, limit: float, target: float | None = None
) -> Row:
    return Row(label, bridge / limit, other / limit, 1.0, target)


def _seconds(results: Results) -> Iterator[Row]:
    bridge, other, limit = results.bridge, results.sequential, results.critical_path
    yield Row("voice turn: text", bridge.voice_text, other.voice_text, limit.voice_turn)
    yield Row(
        "voice note after the text",
        bridge.note_after_text,
        other.note_after_text,
        limit.note_after_text,
        MAX_NOTE_SECONDS,
    )
    yield Row("text turn: text", bridge.text_text, other.text_text, limit.text_turn)
    for size in bridge.bursts:
        compared = size in other.bursts
        for name, times in (("text", BotResults.texts), ("voice note", BotResults.notes)):
            worst = times(other, size)[1] if compared else None
            yield Row(f"{size} at once: worst {name}", times(bridge, size)[1], worst)


def _acknowledgements(results: Results) -> Iterator[Row]:
    for rate, times in results.acknowledgements.items():
        long_enough = len(times.seconds) >= MIN_ACKNOWLEDGEMENT_SECONDS * rate
        for percent in (50, 99):
            target = MAX_ACKNOWLEDGEMENT_MS.get((rate, percent)) if long_enough else None
            milliseconds = times.percentile(percent) * 1000
            yield Row(f"{rate}/s: p{percent}", milliseconds, target=target, digits=1)
    yield Row("most a second with p99 ≤ 150 ms", results.highest_rate, digits=0)


def _costs(results: Results) -> Iterator[Row]:
    bridge, other = results.bridge, results.sequential
    size = min(bridge.bursts, key=lambda size: abs(size - CPU_TURNS))
    largest = max(bridge.bursts)
    compared = largest in other.bursts
    peak, final = bridge.memory(largest)
    other_peak, other_final = other.memory(largest) if compared else (None, None)
    yield Row(
        f"CPU a voice turn, {size} at once, ms",
        bridge.cpu(size),
        other.cpu(size) if size in other.bursts else None,
        target=MAX_CPU_MS,
        digits=0,
    )
    target = MAX_MEMORY_MB if largest >= MEMORY_TURNS else None
    yield Row(f"memory, {largest} at once, MB", peak, other_peak, target=target, digits=0)
    yield Row("memory afterwards, MB", final, other_final, digits=0)
    yield Row("turns lost, or not answered once", bridge.wrong, other.wrong, target=0, digits=0)
