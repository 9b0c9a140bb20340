"""docs/failures.md: ``python -m tests.e2e.failures_page`` writes its tables."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

from tests.e2e.failures import ANY, FAULTS, STEPS, Row, Step

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "failures.md"

MARK = "<!-- make failures writes from here. -->"
COLUMNS = "| what happens | tried again | given up | the sender reads |\n|---|---|---|---|"


def page() -> str:
    """The page as it should be: what stands above the first table stays."""
    head, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    return "\n".join([head + mark, "", *map(_section, STEPS)])


def sentence(key: str) -> str | None:
    """A sentence of phrases.toml in English."""
    phrases = tomllib.loads((ROOT / "text/phrases.toml").read_text(encoding="utf-8"))
    found: dict[str, str] = phrases["en"]["phrases"]
    return found.get(key)


def _section(step: Step) -> str:
    rows = [_row(each) for each in step.rows]
    reasons: dict[str, list[str]] = {}
    for fault, reason in step.senseless.items():
        reasons.setdefault(reason, []).append(FAULTS[fault])
    rows += [f"| {', '.join(names)} | – | – | ({why}) |" for why, names in reasons.items()]
    return "\n".join([f"## {step.title}", "", step.remark, "", COLUMNS, *rows, ""])


def _row(row: Row) -> str:
    happens = ", ".join((FAULTS | {ANY: "any of these"})[fault] for fault in row.faults)
    words = sentence(row.reads)
    reads = f"“{words}”" if words else row.reads
    return f"| {happens} | {row.tries.words} | {row.end or _after(row.seconds)} | {reads} |"


def _after(seconds: float) -> str:
    if seconds == 0:
        return "at once"
    return f"after {math.ceil(seconds)} s"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
