"""A table of numbers that can be printed, and medians of several such tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Row = tuple[float, ...]


@dataclass(frozen=True)
class Table:
    """Rows by their label; ``columns`` are the headings of a row's numbers, with units."""

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Row]

    def __str__(self) -> str:
        width = max(len(label) for label in ("", *self.rows))
        lines = [self.title, " | ".join(["".ljust(width), *self.columns])]
        for label, row in self.rows.items():
            cells = map(_cell, row, self.columns)
            lines.append(" | ".join([label.ljust(width), *cells]))
        return "\n".join(lines)


def median_of(tables: Sequence[Table]) -> Table:
    """The median of each number, over the tables that have its row."""
    first = tables[0]
    labels = dict.fromkeys(label for table in tables for label in table.rows)
    rows = {
        label: _medians([table.rows[label] for table in tables if label in table.rows])
        for label in labels
    }
    return Table(first.title, first.columns, rows)


def _medians(rows: Sequence[Row]) -> Row:
    return tuple(median(numbers) for numbers in zip(*rows, strict=True))


def _cell(number: float, column: str) -> str:
    text = f"{number:,.0f}" if number >= 100 else f"{number:,.1f}"
    return text.rjust(len(column))
