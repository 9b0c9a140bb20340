"""The command that measures what docs/scaling.md says."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from sandbox.bridge import ROOT

pytestmark = pytest.mark.slow


def rows(part: str) -> dict[str, list[str]]:
    """The rows that ``python -m bench.scaling`` prints, by label."""
    command = [sys.executable, "-m", "bench.scaling", "--quick", "--only", part]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    title, columns, *lines = printed.strip().splitlines()
    assert title
    assert "ms" in columns
    cells = (re.split(r" +\| +", line.strip()) for line in lines)
    return {label: numbers for label, *numbers in cells}


@pytest.mark.parametrize(("part", "expected"), [("claiming", 2)])
def test_every_row_has_its_numbers(part: str, expected: int) -> None:
    printed = rows(part)
    assert len(printed) == expected
    for numbers in printed.values():
        assert all(float(number.replace(",", "")) > 0 for number in numbers)
