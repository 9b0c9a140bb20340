"""docs/failures.md: ``python -m tests.e2e.failures_page`` writes its table and the legend."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tests.e2e.failures import (
    ANY,
    AS_MP3,
    FAULTS,
    FIVE,
    FIVE_AS_TOLD,
    HELD_UP,
    LOOKED_UP,
    MINUTE,
    MINUTE_AS_TOLD,
    NEVER,
    NEW_SESSION,
    NEW_TOKEN,
    STEPS,
    THREE,
    THREE_AS_TOLD,
    TWICE,
    UNLOCKED,
    Row,
    Step,
)

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "failures.md"

MARK = "<!-- make failures writes from here. -->"

# How a cell says when a call is made again.
CODES = {
    NEVER.words: "no",
    TWICE.words: "2×",
    THREE.words: "3×",
    THREE_AS_TOLD.words: "3×",
    FIVE.words: "5×",
    FIVE_AS_TOLD.words: "5×",
    MINUTE.words: "wait",
    MINUTE_AS_TOLD.words: "wait",
    UNLOCKED.words: "wait",
    NEW_TOKEN.words: "token",
    NEW_SESSION.words: "session",
    HELD_UP.words: "on",
    LOOKED_UP.words: "list",
    AS_MP3.words: "MP3",
}
HOW_TO_READ = """\
“5×, 19 s, A” means: the call is made again five times, it is given up 19 s after the first try, and
the sender reads sentence A. Without a time it is given up at once. “10 min” counts from the arrival
of the message. At 150 s the turn is over, or the voice note's time.
"""
LEGEND = """\
| again | meaning |
|---|---|
| no | never |
| 2×, 3×, 5× | after 0.5, 1, 2, 4 and 8 s, or as `Retry-After` says (20 s at most) |
| wait | for a minute (429) or 130 s (423), at last every 5 s |
| token, session | once, with a new token; once, in a new session |
| on | after 0.5, 1, 2, 4 and 8 s, and then every 5 s |
| list | every 5 s, if Twilio's list does not show the message after 1 s |
| MP3 | once, as MP3 |
| – | cannot happen: only a question can meet a locked session (423) |
"""


def page() -> str:
    """The page as it should be. What stands above the mark stays as it is."""
    head, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    notes = "\n".join(f"- **{step.title}.** {step.remark}" for step in STEPS if step.remark)
    parts = [head + mark, "", HOW_TO_READ, _table(), "", LEGEND, _readings(), "", notes, ""]
    return "\n".join(parts)


def sentence(key: str) -> str | None:
    """A sentence of phrases.toml in English."""
    phrases = tomllib.loads((ROOT / "text" / "phrases.toml").read_text(encoding="utf-8"))
    found: dict[str, str] = phrases["en"]["phrases"]
    return found.get(key)


def columns() -> list[list[str]]:
    """The faults, in groups that end alike in every step."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for fault in FAULTS:
        groups.setdefault(tuple(_cell(step, fault) for step in STEPS), []).append(fault)
    return list(groups.values())


def _table() -> str:
    groups = columns()
    head = ["", *(", ".join(FAULTS[fault] for fault in group) for group in groups)]
    rows = [[step.title, *(_cell(step, group[0]) for group in groups)] for step in STEPS]
    return "\n".join(map(_line, [head, ["---"] * len(head), *rows]))


def _cell(step: Step, fault: str) -> str:
    for row in step.rows:
        if fault in row.faults or ANY in row.faults:
            parts = (CODES[row.tries.words], _end(row), _letter(row))
            return ", ".join(part for part in parts if part)
    return "–"


def _end(row: Row) -> str:
    """When it is given up; empty if that is at once, or no time."""
    if row.end:
        found = re.search(r"\d+ (?:s|min)\b", row.end)
        return found[0] if found else ""
    return f"{math.ceil(row.seconds)} s" if row.seconds else ""


def _letter(row: Row) -> str:
    return chr(ord("A") + _reads().index(row.reads))


def _reads() -> list[str]:
    """What senders can read, by phrase or in words, in the order of the steps."""
    return list(dict.fromkeys(row.reads for step in STEPS for row in step.rows))


def _readings() -> str:
    rows = []
    for number, reads in enumerate(_reads()):
        words = sentence(reads)
        rows.append([chr(ord("A") + number), f"“{words}”" if words else reads])
    return "\n".join(map(_line, [["", "the sender reads"], ["---", "---"], *rows]))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
