"""The bridge's own log, which it redacts itself: the lines of a turn, and those since a moment."""

from __future__ import annotations

import re
from collections.abc import Callable

LEVEL = re.compile(r"^\[(debug|info|warning|error|critical) *\]\s+")
# What gunicorn writes before its own lines, and the id of the turn, which a reader does not need.
NOISE = re.compile(r"^\[[\d :+-]+\] \[\d+\] \[\w+\] | turn=\w+")
# A switch shows no more.
LINES = 12


class ServiceLog:
    """``read`` returns everything that the bridge has logged."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read

    def length(self) -> int:
        """How many lines there are, to be given to :meth:`since`."""
        return len(self._lines())

    def since(self, length: int) -> list[dict[str, str]]:
        return [_line_json(line) for line in self._lines()[length:]]

    def of_turn(self, sid: str) -> list[dict[str, str]]:
        """The lines of the turn that the message with this SID began."""
        return [_line_json(line) for line in self._lines() if f"turn={sid}" in line]

    def _lines(self) -> list[str]:
        try:
            return [line for line in self._read().splitlines() if line.strip()]
        except FileNotFoundError:
            return []


def _line_json(line: str) -> dict[str, str]:
    found = LEVEL.match(line)
    level = found[1] if found else "info"
    return {"level": level, "text": NOISE.sub("", LEVEL.sub("", line)).strip()}
