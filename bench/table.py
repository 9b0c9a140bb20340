"""Numbers in rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Row = tuple[float, ...]


@dataclass(frozen=True)
class Table:
    """Rows by their label; ``columns`` name the numbers of a row, with their units."""

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Row]

    def __str__(self) -> str:
        wide = max(len(label) for label in ("", *self.rows))
        lines = [self.title, " | ".join(["".ljust(wide), *self.columns])]
        for label, row in self.rows.items():
            cells = map(_cell, row, self.columns)
            lines.append(" | ".join([label.ljust(wide), *cells]))
        return "\n".join(lines)


def median_of(tables: Sequence[Table]) -> Table:
    """The median of each number; a row that some tables lack is made of those that have it."""
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
